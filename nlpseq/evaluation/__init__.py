"""How good a model is, as numbers that mean something: each score carries its parts and its signature.

    scores.py       a score with its unit, parts and signature
    perplexity.py   a language model over a whole text, the state carried, every token predicted once
    reader.py       a language model packed and compiled, for reading what is there already
    text_scores.py  a model's scores on a corpus, or on the text that its training was validated on
    line_scores.py  how likely each line is, for itself or as part of a stream
    classifier_report.py  a classifier's scores, confusion table and baselines on labelled texts
    label_scores.py accuracy, macro-F1, calibration of a classifier, and the temperature that mends it
    baselines.py    what linear models make of the same texts
    translation_scores.py  BLEU, chrF, TER, exact matches, perplexity given the source

Nothing here prints: who asks for a number decides how it is shown.
"""
