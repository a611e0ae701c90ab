"""The recurrences of `nlpseq.cells`, fast: torch only.

What they must compute is defined by the plain loop in `nlpseq.cells`; the tests hold them against it.
"""
