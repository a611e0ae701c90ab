"""The recurrences of `nlpseq.cells`, fast: torch only.

    choice.py         which of them runs on this machine, in which precision, and the reason in words
    torch_layers.py   torch's own layers, for comparison
    running.py        what runs a layer when a model is used
    products.py       the products that a layer makes outside its loop
    loss.py           cross-entropy of a linear output layer that never holds all logits
    masks.py          random masks for the dropouts of training
    replay.py         a function of tensors as a CUDA graph
    transfer.py       copies between host and GPU that neither waits for
    machine.py        what a timing was taken on, in words
    cpu/              the recurrences on a CPU
    gpu/              the recurrences on a GPU

What they must compute is defined by the plain loop in `nlpseq.cells`; the tests hold them against it.
"""
