"""The recurrences of `nlpseq.cells`, fast: torch only.

    recurrence.py      a layer over time with a hand-written backward pass, for every cell and option
    pointwise.py       what each cell does between two matrix products, forward and backward, in place
    torch_layers.py    a layer over time by torch's own operators, to compare with
    loss.py            cross-entropy of a linear output layer that never holds all logits
    choice.py          which of them runs on this machine, in which precision, and the reason in words
    memory.py          keeping freed memory in the process
    machine.py         what a timing was taken on, in words
    timing.py          how long a layer takes, beside torch.nn's and beside its matrix products alone
    decode_timing.py   tokens a second of one generated stream, beside torch.nn's

What they must compute is defined by the plain loop in `nlpseq.cells`; the tests hold them against it.
"""
