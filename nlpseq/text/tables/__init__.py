"""Pairs and labelled texts, from tables, files in step and folders.

parallel.py       pairs of a source and a target, from two files or tables
pair_tables.py    tables of pairs
labelled.py       labelled texts, and how some are held out
label_tables.py   tables of labelled texts
"""
