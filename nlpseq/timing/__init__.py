"""How fast this machine is, each measurement beside a neighbour's in the same run (needs torch).

Contenders take turns (clocks.py), since other load then falls on all of them alike.

    clocks.py          the median time of turns: of the host, of a GPU, of a CUDA graph
    shapes.py          shapes of layers and of products
    plan.py            which layers are timed, in which types
    layer_turns.py     the turns of our layer and of torch.nn's
    layer_products.py  the turn of a layer's matrix products alone
    layers.py          timings of layers
    products.py        timings of packed products, beside NumPy's, torch's and the processor's limit
    decode.py          timings of one generated stream, beside torch.nn's
    filters.py         timings of translating, scoring and classifying, beside a neighbour on torch
    throughput.py      rates of two sides, and their ratio
    conditions.py      machine, versions and kernels in words
    table.py           timings as text
    plot.py            timings of layers as a drawing
"""
