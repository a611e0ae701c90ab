"""From probabilities to text, over any step function; and from texts to labels.

    sampling.py       temperature, top-k, top-p, min-p, repetition penalty: the next token
    continuation.py   texts in the making, side by side: their bytes as they come, stop strings, lengths
    engine.py         how texts grow side by side on the CPU or a device
    generation.py     a language model that continues prompts; a text as a stream with saved state
    beam.py           beam search
    ancestral.py      texts drawn token by token
    loops.py          texts that repeat themselves
    ensemble.py       translators as the decoder of a search
    unknown_words.py  words without a token, taken over from the source
    translation.py    lines to translations
    classification.py lines to labels
    statuses.py       words for what was wrong with a line
    device/           the same on a GPU

Nothing here prints: the caller shows the texts.
"""
