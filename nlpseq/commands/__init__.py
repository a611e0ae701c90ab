"""The command line: one file for each verb. A command parses, calls and shows; the packages below do the work.

`parsing` answers wrong usage and help, with `help/`. `settings/` has the values that files and variables set, `tables/`
what evaluate and inspect print, and `training/` what a training run shows. `cli`, `flags`, `parsing`, `help/` and
`output` import neither NumPy nor torch nor rich, so that `nlpseq --help` starts at once. The price is that a table in
`cli` describes each command, as the command's own help does.
"""
