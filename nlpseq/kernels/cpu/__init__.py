"""The recurrences on a CPU, under autograd.

recurrence.py   a layer over time: which of the next two loops runs it
compiled.py     the compiled loop of nlpseq.native
eager.py        a loop of torch's calls with a hand-written backward pass, if nothing is compiled
tape.py         what that loop writes, and its steps
pointwise.py    what each cell does between two of its products, forward and backward, in place
packing.py      where the real steps of sequences of unequal length lie
"""
