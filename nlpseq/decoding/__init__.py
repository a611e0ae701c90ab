"""Turning probabilities into text, over any step function, and texts into labels.

    sampling.py       temperature, top-k, top-p, min-p, repetition penalty: the next token
    continuation.py   texts in the making, side by side: their bytes as they come, stop strings, lengths
    generation.py     a language model that continues prompts
    beam.py           the best of many hypotheses, side by side
    ancestral.py      texts drawn token by token
    loops.py          texts that go round in circles
    ensemble.py       one or several translators as the decoder of a search
    unknown_words.py  words without a token, taken over from the source
    translation.py    translators at work on lines
    device/           the same on a GPU
    classification.py classifiers at work on lines

Nothing here prints: texts are handed out as they grow, and who asks for them shows them.
"""
