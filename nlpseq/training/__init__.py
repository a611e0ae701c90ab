"""The training road. Everything here but `options` imports torch.

    options.py         what steers a training run
    defaults.py        what is chosen where the user left it open, from corpus, budget and machine
    data.py            corpora to token streams: reading, splitting, tokenising, the run's files of tokens
    batches.py         columns of a token stream, with truncated back-propagation through time
    noise.py           the dropouts
    optimisers.py      the optimisers by name, and their state as arrays
    schedule.py        the learning rate over a run, and how many steps fit a budget
    run_folder.py      what a run keeps on disk, and resuming from it
    loop.py            the one training loop, for every task
    language_model.py  the language model's task: batches, loss, validation, samples
    language_model_run.py  a run of that task, from what was asked for to the model file

The loop knows no task, and a task knows no folder; `language_model_run` brings them together.
"""
