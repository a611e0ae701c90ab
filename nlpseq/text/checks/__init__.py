"""Faults in a corpus, found before hours are spent on it."""
