"""Several processes that train one model together: launching them, what they say to each other, sums of gradients.

    processes    what a run needs of its processes, and a run in one process
    launch       starts them, or finds those that torchrun has started
    group        processes that speak through torch.distributed
    exchange     sums of gradients between machines or GPUs, while the backward pass goes on
    local_exchange, shared_memory  sums of gradients on one machine
    follower     a process that was started by another one

Each process holds the whole model and trains on its columns of each batch. The batch, the random masks and the sum of
the gradients are those of one process, so the number of processes changes only how sums are rounded. The cost is that
every process draws the masks of the whole batch. The first process alone reads the corpus, validates, writes and shows.
"""
