"""Models, written once as functions of weights and arrays, and the file that holds one.

    options.py          what the recurrent layers of any model are made of
    stack.py            layers of a cell, one on the other, in one direction or both
    embedding.py        tokens to vectors, with n-grams
    language_model.py   embedding, stack, output: the next token's probabilities
    stepper.py          a language model one token at a time, for generating text
    attention.py        what a query reads of a source text
    translator.py       encoder, attention, decoder: a target's next token, given its source
    evidence.py         what n-grams say of a label, counted
    pooling.py          how the outputs over a text become one vector
    classifier.py       embedding, stack, pooling: a text's label
    model_file.py       one safetensors file with all that is needed to run a model
    state_file.py       what a model knows of a text so far, to go on with another day

Weights are a plain dict from names to arrays, NumPy on the running road and torch in training.
"""
