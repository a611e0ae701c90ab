"""Decoding on a GPU: fixed shapes, steps that are graphs, one transfer per batch. Results are those of the CPU."""
