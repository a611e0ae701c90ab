"""Native code for the running road: one step of a recurrent stack for one text, in one call.

A text in the making is advanced token by token, and each step is a handful of matrix-vector products that run at the
speed of memory. In NumPy a quarter of a step was something else: temporary arrays, and threads that wait for each
other.
So that one step, and nothing more, is also written in C: no Python headers, no compiler flags of the machine's own, a
shared library that is compiled when the package is built and loaded through ctypes. Its cost is a second place for the
cells' equations, held to the first by tests. Where the library is missing (no compiler when the package was built) or
does not know a cell, NumPy does the same work, and `nlpseq bench decode` says so.

    step.c       the step
    library.py   finding and loading it
    stack.py     a stack of layers that it advances
"""
