"""Native code: the loop over time that trains a layer, and the step that runs a model for one text.

A text in the making is advanced token by token, and each step is a handful of matrix-vector products that run at the
speed of memory; in NumPy a quarter of a step was something else. A layer in training is a product and a few functions
of it a step; as calls of torch half of its time was something else. A search over many texts is a few products with the
same matrices in every step, and passes over what the last of them made; in NumPy its time doubled. So these, and
nothing more, are also written in C, without Python headers: shared libraries that are compiled when the package is
built and loaded through ctypes, and that choose the processor's instructions when they run. The cost is a second place
for the cells' equations, held to the first by tests. Where a library is missing (no compiler when the package was
built) or does not know a cell, NumPy and torch do the same work, and the line that says which kernel runs says so.

    step.c         one step of a stack of layers for one text
    stack.py       a stack of layers that it advances
    recurrence.c   a layer over time: threads, shares of the work, choice of instructions
    recurrence.h   what it is given
    vectors.h cells.h loop.h   for each type and kind of processor: functions of vectors and products, cells, time
    variant_float.h variant_double.h   the types
    tiles.h        products of bf16 on the processor's matrix tiles
    recurrence.py  its arguments, and running it
    layer.py       a layer over time on NumPy arrays, by the same loop
    output.h       the output layer of many texts, for one kind of processor
    matrix.py      matrices that many rows are multiplied with
    output.py      an output layer, with what a search asks of its logits
    extension.py   finding and loading both
"""
