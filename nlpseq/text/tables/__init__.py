"""Rows to pairs and to labelled texts.

columns.py        which two columns are read, of rows of cells
keys.py           which two columns are read, of rows that name their cells
headers.py        whether a first row is a header
purpose.py        what two columns are read as: the names, the flags and the refusals
notes.py          what is worth knowing of how tables were read
pair_tables.py    rows as pairs
parallel.py       pairs of a source and a target, from two files or tables
label_tables.py   rows as labelled texts
labelled.py       labelled texts, and how some are held out
"""
