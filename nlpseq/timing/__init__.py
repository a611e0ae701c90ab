"""How fast things are, each beside what else would do the same, in the same run (needs torch).

layers.py     recurrent layers, beside torch.nn's and their matrix products alone
products.py   the packed product, beside NumPy's, torch's and what the processor can do
decode.py     one generated stream, beside torch.nn's
filters.py    translating, scoring and classifying, beside the same model on torch
plot.py       timings of layers as a drawing
"""
