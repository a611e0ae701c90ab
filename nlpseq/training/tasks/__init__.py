"""The tasks in training, each from request to model file.

model_task.py       the base class of tasks: parameters, noise, model file
task_run.py         the base class of runs, from request to model file
language_model.py   the language model
translation.py      the translator
classification.py   the classifier
adversaries.py      adversarial training
"""
