"""The recurrences on a CPU, under autograd."""
