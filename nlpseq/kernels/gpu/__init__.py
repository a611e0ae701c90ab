"""The recurrences on a GPU, by kernels in Triton's languages.

recurrence.py   a layer over time: chooses the kernels and calls them; all that imports triton is behind it
layer.py        the same by the kernels in Triton's own language, under autograd
ways.py         which of the kernels runs it, and why another cannot
persistent/     one kernel for all of time, for Hopper
launch.py       the other ways: their tiles and launches
signals.py      counters that programs wait at, and waits that were given up
products.py     products with results in fp32
graph.py        many small launches as one
cache.py        where Triton keeps what it has compiled
column.py steps.py rows.py
                the other kernels: all of time in one program; a step spread over many; a step in several launches
pointwise.py tiles.py normalisation.py arguments.py
                what they are made of: each cell's gates; loads and products; layer normalisation; records of arguments
scan.py         linear recurrences
parallel.py     the parallel cells round them
"""
