"""The command line: one file for each verb. A command parses, calls and shows; the packages below do the work.

`parsing` answers wrong usage and help: `usage` says what is wrong, `corrections` and the table `guesses` what to type
instead, and `help_page` lays out help. `settings/` has the values that files and variables set. `cli`, `flags`,
`parsing`, `help_page` and `output` import neither NumPy nor torch nor rich, so that `nlpseq --help` starts at once. The
price is that a table in `cli` describes each command, as the command's own help does.
"""
