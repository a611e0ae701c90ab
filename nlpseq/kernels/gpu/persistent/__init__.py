"""The persistent kernels, for Hopper: one launch runs all steps of a layer, forward or backward."""
