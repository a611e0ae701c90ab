"""Native code: the loop over time that trains a layer, the step that runs a model for one text, and products.

A text in the making is advanced token by token, and each step is a handful of matrix-vector products that run at the
speed of memory; in NumPy a quarter of a step was something else. A layer in training is a product and a few functions
of it a step; as calls of torch half of its time was something else. A search over many texts is a few products with the
same matrices in every step, and passes over what the last of them made; in NumPy its time doubled. So these, and
nothing more, are also written in C, without Python headers: one shared library that is compiled when the package is
built and loaded through ctypes, with code for every kind of processor of its family. The cost is a second place for the
cells' equations, held to the first by tests. Where the library is missing (no compiler when the package was built) or
does not know a cell, NumPy and torch do the same work, and the line that says which kernel runs says so.

    extension.py   finding and loading the library; which instructions it uses
    recurrence.py  a layer over time, forward and backward: its arguments, and running it
    layer.py       a layer over time on NumPy arrays, by the same loop, for whole texts
    steps.py       the same step by step, for a search
    stack.py       a stack of layers with one text in it
    product.py     products of matrices: their arguments, and running them
    matrix.py      matrices that many rows are multiplied with
    output.py      an output layer, with what a search and a loss ask of its logits
    memory.py      keeping freed memory in the process

The C files are in c/. processor.h says which kinds of processor there are, and variants.h includes a header for each:

    interface.h    what Python hands over
    processor.c    which kinds this processor is
    helpers.c      threads for jobs that are over in no time
    type.h vectors.h multiply.h   a type; its vectors and their functions; a few rows times a panel
    cells.h        what each cell does between two products
    recurrence.c loop.h tiles.h recurrence_variants.h   a layer over time; on matrix tiles (AMX)
    stream.c stream.h      one step of one text
    products.c products.h  products of matrices, and sums over their columns
"""
