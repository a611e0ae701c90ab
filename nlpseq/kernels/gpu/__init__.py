"""The recurrences on a GPU, by kernels in Triton's languages."""
