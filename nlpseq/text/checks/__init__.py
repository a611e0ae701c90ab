"""Faults in a corpus, found before hours are spent on it, in constant memory.

corpus.py         any corpus, as text, pairs or labelled texts
finding.py        one finding, and the order in which findings are shown
text.py           the findings in a text
text_counts.py    what is counted in a text, a batch of lines at a time
syntax.py         the syntax of tables or markup in a text, and files that are left out
pairs.py          the findings in pairs
pair_counts.py    what is counted in pairs, by several processes
pair_features.py  what is looked at in a chunk of pairs
shifts.py         the line from which two sides are out of step
labels.py         the findings in labelled texts
label_counts.py   what is counted in labelled texts
spill.py          rows of hashes and records that may not fit in memory
"""
