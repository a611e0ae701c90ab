"""The persistent kernels, for Hopper: one launch runs all steps of a layer, forward or backward.

recurrence.py      the kernels under autograd, and their launch
gradients.py       the products over all steps that make the gradients
arrays.py          what a layer is to them, and its matrices and states in their order
kernel.py          the loop over time
product.py         its waits and products
cells.py           what each cell does between them
normalisation.py   layer normalisation over programs
directions.py      where a program is in time and among the others, in one direction or both
tiles.py           tiles by the size of a layer, and their layouts
gluon_names.py     whether Gluon, their language, can be used, and its names that moved
"""
