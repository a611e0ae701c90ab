"""How fast this machine is, each measurement beside a neighbour's in the same run (needs torch).

Contenders take turns (clocks.py), since other load then falls on all of them alike.
"""
