"""The recurrences of `nlpseq.cells`, fast: torch only.

recurrence.py   a layer over time with a hand-written backward pass, for every cell and option
pointwise.py    what each cell does between two matrix products, forward and backward, in place
loss.py         cross-entropy of a linear output layer that never holds all logits
choice.py       which of them runs on this machine, in which precision, and the reason in words
"""
