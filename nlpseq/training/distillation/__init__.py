"""Distillation: a small model learns from the answers of larger ones (Hinton et al., 2015).

teachers.py      the models that answer, and whether they fit each other and the student
streams.py       language models: the teachers' next tokens, predicted in the student's own steps
labels.py        classifiers: the teachers' probabilities of each text's labels, computed once
translations.py  translators: the teachers' translations of the sources, made once (Kim and Rush, 2016)
student.py       the training request of a student: its corpus, and sizes that are smaller than the teacher's
comparison.py    teacher and student on the student's validation part
"""
