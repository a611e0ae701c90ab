"""Turning probabilities into text, over any step function.

    sampling.py       temperature, top-k, top-p, min-p, repetition penalty: the next token
    continuation.py   texts in the making, side by side: their bytes as they come, stop strings, lengths
    generation.py     a language model that continues prompts
    beam.py           the best of many hypotheses, side by side
    translation.py    a translator at work on lines

Nothing here prints: texts are handed out as they grow, and who asks for them shows them.
"""
