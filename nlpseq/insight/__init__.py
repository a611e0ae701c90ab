"""What a model does, made visible.

    attention.py   the alignment of a translation: numbers, a drawing, shades in a terminal
    facts.py       the facts of a model file
    words.py       the words that carried a classifier's decision: numbers, colours, a page

Nothing here writes to a terminal: results are text, which commands show.
"""
