"""Evaluation: scores of models, each with its parts and a signature that says how it was computed.

Nothing here prints; the caller decides how a score is shown.
"""
