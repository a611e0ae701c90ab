"""The command line: one file a verb. A command parses, calls and shows; what it does is done in the packages below.

    cli.py        the program: its commands by name, loaded when asked for; every error and signal ends here
    flags.py      options dataclasses as flags; the flags that many commands share
    parsing.py    a flag's text as a value; help in sections
    output.py     data to standard output, messages to standard error
    filters.py    the loop of all commands that answer each line of standard input
    train.py      nlpseq train; what is seen of a run is in training_display.py
    generate.py   nlpseq generate
    translate.py  nlpseq translate
    attention_file.py  the file of its --attention
    classify.py   nlpseq classify
    score.py      nlpseq score
    evaluate.py   nlpseq evaluate
    tokenize.py   nlpseq tokenize train | encode | decode | check
    corpus.py     nlpseq corpus list | show | check
    inspect.py    nlpseq inspect model | attention | words
    bench.py      nlpseq bench cells | decode | products | translate | score | classify

`cli`, `flags`, `parsing` and `output` import neither NumPy nor torch nor rich, so that `nlpseq --help` starts at once;
the price is that `cli` says in a table what each command does, beside the command's own help.
"""
