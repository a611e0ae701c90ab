"""Tables that commands print: `score_table` of scores, `facts_table` of a model file."""
