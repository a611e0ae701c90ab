"""The training road: it uses torch. `options`, `requests`, `repeating` and `run_list` do not import it, because the
command line reads them.

The loop knows no particular task, and a task knows no folder; `tasks/task_run.py` connects them.
"""
