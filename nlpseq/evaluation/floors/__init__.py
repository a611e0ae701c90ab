"""Floors: what simple means reach on the same texts, to be read beside a model's scores.

baseline.py is the record of a baseline's scores. kneser_ney.py counts n-grams, and language_model.py makes a baseline
of them. nearest.py finds the nearest of many texts, and translation.py the baselines of a translator. Linear models of
labelled texts are in nlpseq/evaluation/baselines.py: they are scikit-learn's.
"""
