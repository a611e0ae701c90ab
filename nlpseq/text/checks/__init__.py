"""Faults in a corpus, found before hours are spent on it.

corpus.py    any corpus, looked through as what it is
text.py      faults in a text
pairs.py     faults in parallel text
labels.py    faults in labelled texts
syntax.py    what a text holds that is not text: tables and markup
finding.py   one thing found
"""
