"""Views of what a model does.

Nothing here writes to a terminal: results are texts, which the commands show.
"""
