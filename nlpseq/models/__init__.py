"""Models, each written once as functions of weights and arrays, and the model file.

    options.py          the options of the recurrent layers of any model
    stack.py            stacked layers of a cell, in one direction or both
    embedding.py        tokens to vectors, with n-grams
    language_model.py   embedding, stack, output: the next token's probabilities
    stepper.py          a language model advanced token by token, for generating text
    attention.py        attention over the positions of a source text
    translator.py       encoder, attention, decoder: the probabilities of a target's next token
    evidence.py         weights of evidence: counted n-grams as features of a label
    pooling.py          poolings: the outputs over a text to one vector
    classifier.py       embedding, stack, pooling: the probabilities of a text's labels
    model_file.py       one safetensors file with everything that a model needs to run
    state_file.py       a language model's state after a text, to continue from later

Weights are a plain dict from names to arrays: NumPy arrays on the running road, torch tensors in training.
"""
