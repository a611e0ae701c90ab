"""Rows to pairs and to labelled texts.

purpose.py          what two columns are read as, and the messages about them
headers.py          whether a first row is a header
columns.py          the two columns of rows of cells
keys.py             the two columns of rows that name their cells
pair_tables.py      rows to pairs
label_tables.py     rows to labelled texts
label_sets.py       the labels of a text that has any number of them
text_column.py      one column as plain text
parallel.py         pairs of tables or of two files, in memory or in temporary files, and those held out
labelled.py         labelled texts in memory
labelled_parts.py   those to train on, and those held out
unlabelled.py       plain text that a classifier labels
stored_labelled.py  labelled texts in temporary files, split in the same way
stored_rows.py      texts and numbers in temporary files
notes.py            notes on how several tables were read
"""
