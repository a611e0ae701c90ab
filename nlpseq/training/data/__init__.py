"""Texts to batches of token ids, on disk and on the device.

corpus.py      corpora to token streams
batches.py     batches of a token stream
pairs.py       parallel text to batches
mixture.py     pairs of a corpus and synthetic ones, for training
labels.py      labelled texts to batches
label_notes.py  what a run says about its labelled texts
label_sets.py  the labels of texts that have any number of them
soft_labels.py  a teacher's answers to labelled texts
encoding.py    rows of texts to ids, by one process or by several
sentences.py   texts as ids in files
shuffled.py    the order in which training reads texts
evidence.py    cross-fitted weights of evidence
set_evidence.py  what their counts need if texts have several labels
feed.py        copies arrays to a device
seal.py        whether the files of a run's tokens are whole
"""
