"""The tasks in training, each from request to model file.

model_task.py       what tasks have in common: parameters, file
task_run.py         what runs have in common, from what was asked for to the model file
language_model.py   the language model
translation.py      the translator
classification.py   the classifier
adversaries.py      adversarial training
"""
