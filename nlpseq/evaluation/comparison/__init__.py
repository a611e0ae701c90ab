"""Which model is better, by how much, and how sure that is: paired tests over the lines, or blocks, of a text.

measures.py holds the scores as functions of sums over units, so that a resample costs one product. resampling.py draws
bootstrap samples and exchanges outputs at random, in bounded memory. intervals.py makes intervals and p-values of what
was drawn. blocks.py cuts a text into blocks of whole lines. comparison.py compares sides and is the record of the
result; seeds.py does so for sides of several models. The sides come from language_models.py, classifiers.py,
translators.py and output_files.py; side_paths.py finds the models of a side. score_intervals.py gives one model's
scores their intervals.
"""
