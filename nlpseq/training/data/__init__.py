"""Texts to batches of token ids, on disk and on the device.

corpus.py      corpora to token streams: reading, splitting, tokenising, the run's token files
batches.py     batches of a token stream for truncated back-propagation through time
sentences.py   texts as ids, and the order in which training reads them
pairs.py       parallel text to batches of pairs of similar length
labels.py      labelled texts to batches
evidence.py    cross-fitted weights of evidence
feed.py        copies of batches to the device
"""
