"""The training road: it uses torch. `options` and `requests` do not import it, because the command line reads them.

    options.py         the options of a training run
    requests.py        the request of a training run: corpora, folder and all options
    defaults.py        default sizes and rates, chosen by corpus, budget and machine
    loop.py            the one training loop, for every task
    step.py            one training step, on the CPU and on a GPU
    validation.py      validation during a run, and the choice of the best model
    run_state.py       everything that the next step depends on, to be saved and restored
    noise.py           dropout, weight drop and zoneout masks
    optimisers.py      the optimisers by name, and their state as arrays
    schedule.py        the learning rate over a run, and the number of steps in a budget of time
    run_folder.py      the files of a run
    device_faults.py   GPU errors as one clear sentence
    data/              texts to batches of token ids
    tasks/             each task in training, and its run from request to model file

The loop knows no particular task, and a task knows no folder; `tasks/task_run.py` connects them.
"""
