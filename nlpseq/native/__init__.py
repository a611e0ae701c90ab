"""Native code: the loop over time that trains a layer, the step that runs a model for one text, and matrix products.

Three loops spent much of their time outside matrix products, so they, and nothing more, are also written in C:

- Generation of one text. A step is a few matrix-vector products, which run at the speed of memory. In NumPy a quarter
  of the time was overhead.
- Training of a layer. A step is one product and a few functions of it. In torch half of the time was overhead.
- A search over many texts. A step is a few products with the same matrices, and passes over the logits. NumPy took
  twice as long.

The C needs no Python headers. It is one shared library, compiled when the package is built and loaded through ctypes,
with code for every kind of processor of its family. The cost is a second copy of the cells' equations; tests compare it
with the first. If the library is missing (there was no compiler when the package was built) or does not have a cell,
NumPy and torch do the same work, and the line that names the kernel says so.

shapes.py compares arrays with what is expected once more before their addresses are passed: the C compares nothing.

The C files are in c/. processor.h says which kinds of processor there are, and variants.h includes a header for each:

    interface.h    the arguments that Python passes
    processor.c    which kinds this processor supports
    helpers.c      threads for very short jobs
    type.h vectors.h   a type; its vectors and their functions
    multiply.h sums.h  a few rows times a panel
    cells.h        the arithmetic of each cell between two products
    recurrence.c loop.h recurrence_variants.h   a layer over time
    tiles.h pairs.h    its products in bf16, on matrix tiles (AMX) and in pairs (AVX512-BF16)
    stream.c stream.h      one step of one text
    products.c products.h  products of matrices, and sums over their columns
"""
