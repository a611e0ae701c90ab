"""The Python API: everything that the command line can do, in a few lines."""
