"""The command line: one file for each verb. A command parses, calls and shows; the packages below do the work.

    cli.py        the program: its commands by name, loaded when asked for; handles every error and signal
    flags.py      options dataclasses as flags; the flags that many commands share
    parsing.py    a flag's text as a value; help in sections
    output.py     data to standard output, messages to standard error
    filters.py    the loop of all commands that answer each line of standard input
    train.py      nlpseq train; training_display.py shows its progress
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

`cli`, `flags`, `parsing` and `output` import neither NumPy nor torch nor rich, so that `nlpseq --help` starts at once.
The price is that a table in `cli` describes each command, as the command's own help does.
"""
