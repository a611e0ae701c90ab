"""Tables and lines that commands print.

score_table       scores
comparison_table  sides compared
baseline_table    baselines beside scores
facts_table       a model file
model_table       models side by side
trial_table       trials of a search
decision_line     the labels of a text
"""
