"""Help and wrong usage: `page` lays out help, `usage` says what is wrong, and what to type instead is in `corrections`.

The names that people try, with the right ones, are in the table `guesses`. `arguments` is for arguments of the wrong
kind, or without the command or the option that takes them.
"""
