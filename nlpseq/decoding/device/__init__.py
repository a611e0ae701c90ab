"""Decoding on a GPU: fixed shapes, steps that are graphs, one transfer a batch. Results are those of the CPU.

search.py          the beam search of translators
batches.py         which texts go into it together, and as what shapes
decoder.py         the models as it asks for them
beam.py            one of its steps
ranking.py         the top-k over beam and vocabulary
loops.py           texts that go round in circles
results.py         what comes back to the host
generation.py      texts in the making: blocks of tokens to bytes, stops, lengths
steps.py           a language model that makes many texts, a block of tokens at a time
sampling.py        the next tokens of many texts at once
prompts.py         what a language model knows after prompts that are read side by side
classification.py  a classifier's logits
"""
