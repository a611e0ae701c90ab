"""The recurrences of `nlpseq.cells`, fast: torch only.

    recurrence.py      a layer over time on the CPU: which of the next two loops runs it
    native_recurrence.py  the compiled loop of nlpseq.native, under autograd
    eager_recurrence.py   a loop of torch's calls with a hand-written backward pass, where nothing is compiled
    pointwise.py       what each cell does between two of its products, forward and backward, in place
    torch_layers.py    torch's own layers, for comparison
    triton_recurrence.py   a layer over time on a GPU, under autograd; all that imports triton is behind it
    triton_launch.py   which of the GPU's kernels runs it, with which tiles, and its launch
    triton_graph.py    many small launches as one
    triton_column.py triton_steps.py triton_rows.py
                       the kernels: all of time in one program; a step spread over many; a step in several launches
    triton_pointwise.py triton_tiles.py triton_arguments.py
                       what they are made of: each cell's gates; loads, products, normalisation; records of arguments
    triton_scan.py     linear recurrences on a GPU
    triton_parallel.py the parallel cells round them
    places.py          where the real steps of sequences of unequal length lie
    masks.py           random masks for the dropouts of training
    machine.py         what a timing was taken on, in words
    loss.py            cross-entropy of a linear output layer that never holds all logits
    choice.py          which of them runs on this machine, in which precision, and the reason in words

What they must compute is defined by the plain loop in `nlpseq.cells`; the tests hold them against it.
"""
