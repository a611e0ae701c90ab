"""Models, each written once as functions of weights and arrays, and the model file.

Weights are a plain dict from names to arrays: NumPy arrays on the running road, torch tensors in training.
"""
