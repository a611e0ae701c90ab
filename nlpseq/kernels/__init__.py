"""The recurrences of `nlpseq.cells`, fast: torch only.

    recurrence.py      a layer over time on the CPU: which of the next two loops runs it
    native_recurrence.py  the compiled loop of nlpseq.native, under autograd
    eager_recurrence.py   a loop of torch's calls with a hand-written backward pass, where nothing is compiled
    pointwise.py       what each cell does between two of its products, forward and backward, in place
    torch_layers.py    torch's own layers, for comparison
    transfer.py        copies between host and GPU that neither waits for
    running.py         what runs a layer when a model is used
    replay.py          a function of tensors as a CUDA graph
    places.py          where the real steps of sequences of unequal length lie
    masks.py           random masks for the dropouts of training
    machine.py         what a timing was taken on, in words
    loss.py            cross-entropy of a linear output layer that never holds all logits
    choice.py          which of them runs on this machine, in which precision, and the reason in words
    gpu/               the recurrences on a GPU

What they must compute is defined by the plain loop in `nlpseq.cells`; the tests hold them against it.
"""
