"""What `nlpseq train` shows: `display` runs it, on a `screen` of `lines` or a `bar` with a `sparkline`.

`trials` runs and shows `nlpseq tune`.
"""
