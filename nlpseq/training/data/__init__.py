"""Texts to batches of token ids, on disk and on the device.

corpus.py      corpora to token streams: reading, splitting, tokenising, the run's files of tokens
batches.py     batches of a token stream, for truncated back-propagation through time
sentences.py   texts as ids, and the order in which they are read
pairs.py       parallel text to batches of about one length
labels.py      labelled texts to batches
evidence.py    weights of evidence, each text's from the other folds
feed.py        arrays of a batch to the device
"""
