"""The training road. Everything here but `options` imports torch.

    options.py         what steers a training run
    defaults.py        what is chosen where the user left it open, from corpus, budget and machine
    loop.py            the one training loop, for every task
    step.py            one step, as the CPU takes it and as a GPU does
    noise.py           the dropouts
    optimisers.py      the optimisers by name, and their state as arrays
    schedule.py        the learning rate over a run, and how many steps fit a budget
    run_folder.py      what a run keeps on disk, and resuming from it
    device_faults.py   what goes wrong on a GPU, in a sentence
    data/              texts to batches of token ids
    tasks/             what each task trains, and its run from request to model file

The loop knows no task, and a task knows no folder; `tasks/task_run.py` brings them together.
"""
