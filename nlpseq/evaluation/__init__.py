"""How good a model is, as numbers that mean something: each score carries its parts and its signature.

scores.py       a score with its unit, parts and signature
perplexity.py   a language model over a whole text, the state carried, every token predicted once
"""
