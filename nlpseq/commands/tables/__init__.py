"""Tables and lines that commands print.

score_table     scores
baseline_table  baselines beside scores
facts_table     a model file
trial_table     trials of a search
decision_line   the labels of a text
"""
