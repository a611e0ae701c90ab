"""nlpseq: small recurrent text models of your own data, on your own machine.

Two roads start from text and meet in the model file. The training road (`training`, `kernels`) uses torch; the running
road (`decoding`, `evaluation`, and `commands` for what they show) uses NumPy and a little compiled code, and starts at
once. A model is written once, in `models`, as functions of weights and arrays, and serves both.

    errors.py       what a user can do wrong
    options.py      one dataclass field is a flag, its help, its default, an attribute and a key of the model file
    arrays.py       the few operations models are written in, for NumPy and torch alike
    text/           reading corpora, tokenisers, token streams on disk, the line contract of the filters
    cells/          one file a cell: its equations as one step; initial values; the plain loop over time
    models/         recurrent stack, language model, attention, translator, model file
    native/         one step of one text, compiled
    decoding/       sampling and beam search, over any step function
    kernels/        torch: the recurrences and the loss, fast
    training/       torch: batches, optimisers, the one loop, run folder and resume
    evaluation/     perplexity with its signature
    commands/       the command line, one file a verb
"""

__version__ = "0.1.0"
