"""A classifier with --unlabelled: a language model first, then the classifier, which starts from it.

spelling.py    how the labelled texts write punctuation, and other texts written alike
sources.py     the texts without labels, of plain text or of tables
texts.py       the texts of the language model: unlabelled ones, and the training texts among them
budget.py      the time and the size of the language model
plan.py        what was asked for and what was decided, in a file
runs.py        the two runs, one after the other
"""
