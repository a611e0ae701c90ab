"""Rows to pairs and to labelled texts."""
