"""Turning probabilities into text, over any step function, and texts into labels.

    sampling.py       temperature, top-k, top-p, min-p, repetition penalty: the next token
    continuation.py   texts in the making, side by side: their bytes as they come, stop strings, lengths
    generation.py     a language model that continues prompts
    batched_sampling.py        the next tokens of many texts at once, on a device
    batched_steps.py           a language model that makes many texts there, a block of tokens at a time
    batched_prompts.py         what it knows after prompts that are read side by side
    batched_generation.py      those texts in the making: blocks to bytes, stops, lengths
    batched_classification.py  a classifier's logits on a device
    batched_halves.py          work that memory does not hold at once, in halves
    beam.py           the best of many hypotheses, side by side
    ancestral.py      texts drawn token by token
    loops.py          texts that go round in circles
    ensemble.py       one or several translators as the decoder of a search
    unknown_words.py  words without a token, taken over from the source
    translation.py    translators at work on lines
    device_search.py  the beam search of translators on a GPU: device_batches.py what goes together,
                      device_decoder.py the models, device_beam.py a step, device_ranking.py its top-k,
                      device_loops.py its circles, device_results.py what comes back to the host
    classification.py classifiers at work on lines

Nothing here prints: texts are handed out as they grow, and who asks for them shows them.
"""
