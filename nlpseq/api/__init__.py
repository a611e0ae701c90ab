"""The Python API: everything that the command line can do, in a few lines.

loading.py          a model of any task from its file
training.py         training with the options of `nlpseq train`
model.py            what the models of all tasks share
language_model.py   generate, stream, score, evaluate
classifier.py       classify, words, evaluate, report
translator.py       translate, score, attention, evaluate
paths.py            paths as str, bytes or Path
"""
