"""The recurrences on a GPU, by kernels in Triton's languages.

recurrence.py   a layer over time, under autograd; all that imports triton is behind it
launch.py       which of the kernels runs it, with which tiles, and its launch
graph.py        many small launches as one
column.py steps.py rows.py
                the kernels: all of time in one program; a step spread over many; a step in several launches
pointwise.py tiles.py arguments.py
                what they are made of: each cell's gates; loads, products, normalisation; records of arguments
scan.py         linear recurrences
parallel.py     the parallel cells round them
"""
