"""Worker processes: one function applied to many items by all cores, its results in order.

    cores.py      how many cores this process may use
    pool.py       the processes, each with a thread of this process that hands it items
    portions.py   portions that are divided among the processes and put together again
    frames.py     pickled values on a pipe
    __main__.py   what a worker runs: `python -m nlpseq.workers`

A worker is a new Python process with two pipes: nothing is forked, and the program's own main module is not imported
again. It imports what its function imports, and starts in the time that this takes.
"""

from nlpseq.workers.cores import MOST, available_cores, check_processes, threads_each, usual_processes
from nlpseq.workers.pool import PAUSE, in_order
from nlpseq.workers.portions import portions_in_order

__all__ = [
    "MOST",
    "PAUSE",
    "available_cores",
    "check_processes",
    "in_order",
    "portions_in_order",
    "threads_each",
    "usual_processes",
]
