"""Decoding on a GPU: fixed shapes, steps that are graphs, one transfer per batch. Results are those of the CPU.

search.py          the beam search of translators
batches.py         which texts are searched together, and in which shapes
decoder.py         the models with the methods that a beam needs
beam.py            a step of the search
ranking.py         the top-k over beam and vocabulary
loops.py           texts that repeat themselves
results.py         from the device to hypotheses on the host
generation.py      texts in the making: blocks of tokens to bytes, stop strings, lengths
steps.py           a language model that lengthens many texts, a block of tokens at a time
sampling.py        the next tokens of many texts at once
prompts.py         the states after prompts that are read side by side
classification.py  the logits of a classifier
"""
