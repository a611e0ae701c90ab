"""What goes on inside a model, made visible.

    attention.py   what each token of a translation looked at: numbers, a drawing, shades in a terminal

Nothing here runs a model or writes to a terminal: it turns what others found into text.
"""
