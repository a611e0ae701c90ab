"""Vectors of texts and words, and what lies nearest to them.

    networks.py      how each task's network reads a text
    embedder.py      texts to vectors
    vector_files.py  .npy files of vectors: written row by row, read in blocks
    neighbours.py    the lines whose vectors are most like those of some texts
    vocabulary.py    the words whose vectors are most like a word's

All of it runs on NumPy; torch is imported only for a device.
"""
