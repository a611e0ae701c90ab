"""Evaluation: scores of models, each with its parts and a signature that says how it was computed.

    scores.py       a score with its unit, parts and signature
    perplexity.py   the loss of a language model over a whole text, with the state carried from token to token
    reader.py       models that read existing text, in compiled code or on a device
    text_scores.py  a language model's scores on a corpus or on its own validation text
    line_scores.py  the probability of each line, alone, in a stream or given its source
    classifier_report.py  a classifier's scores, confusion table and baselines on labelled texts
    label_scores.py accuracy, macro-F1 and calibration of a classifier, and its temperature
    baselines.py    linear models of the same texts, for comparison
    translation_scores.py  BLEU, chrF, TER, accuracy, and perplexity given the source

Nothing here prints; the caller decides how a score is shown.
"""
