"""Turning probabilities into tokens, over any step function.

    sampling.py   temperature, top-k, top-p, min-p, repetition penalty; a text one token at a time
"""
