"""What goes on inside a model, made visible.

    attention.py   what each token of a translation looked at: numbers, a drawing, shades in a terminal
    facts.py       the facts of a model file
    words.py       which words carried a classifier's decision: numbers, colours, a page

Nothing here writes to a terminal: what goes on becomes text, and commands show it.
"""
