"""Texts to batches of token ids, on disk and on the device."""
