"""Faults in a corpus, found before hours are spent on it.

text.py     faults in a text
pairs.py    faults in parallel text
labels.py   faults in labelled texts
"""
