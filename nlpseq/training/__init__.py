"""The training road. Everything here but `options` imports torch.

    options.py         what steers a training run
    defaults.py        what is chosen where the user left it open, from corpus, budget and machine
    data.py            corpora to token streams: reading, splitting, tokenising, the run's files of tokens
    pairs.py           parallel text to batches of about one length
    labels.py          labelled texts to batches
    evidence.py        weights of evidence, each text's from the other folds
    adversaries.py     adversarial training
    sentences.py       texts as ids, and the order in which they are read
    batches.py         columns of a token stream, with truncated back-propagation through time
    noise.py           the dropouts
    feed.py            arrays of a batch to the device
    optimisers.py      the optimisers by name, and their state as arrays
    schedule.py        the learning rate over a run, and how many steps fit a budget
    run_folder.py      what a run keeps on disk, and resuming from it
    step.py            one step, as the CPU takes it and as a GPU does
    device_faults.py   what goes wrong on a GPU, in a sentence
    loop.py            the one training loop, for every task
    model_task.py      what tasks have in common
    task_run.py        a run of any task, from what was asked for to the model file
    language_model.py  the language model's task: batches, loss, validation, samples
    language_model_run.py  its corpus, and what is chosen for it
    translation.py     the translator's task
    translation_run.py its pairs, and what is chosen for it
    classification.py  the classifier's task
    classification_run.py  its texts, and what is chosen for it; a language model as its teacher

The loop knows no task, and a task knows no folder; `task_run` brings them together.
"""
