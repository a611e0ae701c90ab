"""What each task trains, and its run from request to model file.

model_task.py           what tasks have in common
task_run.py             a run of any task, from what was asked for to the model file
language_model.py       the language model's task: batches, loss, validation
language_model_run.py   its corpus, and what is chosen for it
translation.py          the translator's task
translation_run.py      its pairs, and what is chosen for it
classification.py       the classifier's task
classification_run.py   its texts, and what is chosen for it; a language model to start from
adversaries.py          adversarial training
"""
