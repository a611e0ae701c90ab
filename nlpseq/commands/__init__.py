"""The command line: one file for each verb. A command parses, calls and shows; the packages below do the work.

`cli`, `flags`, `parsing` and `output` import neither NumPy nor torch nor rich, so that `nlpseq --help` starts at once.
The price is that a table in `cli` describes each command, as the command's own help does.
"""
