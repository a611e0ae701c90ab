"""A training loop of one's own: an LSTM learns a sentence by heart and says it again from its first word.

Training uses torch and the fast kernel; what was learned is then run on NumPy alone, one character at a time.
"""

from __future__ import annotations

import numpy as np
import torch

from nlpseq.kernels.cpu import recurrence
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.text.tokenisers import NEWLINE, Tokeniser, train_tokeniser

SENTENCE = "hello world, how are you?"
SEED = "hello"
STEPS = 80

Weights = dict[str, np.ndarray]


def learn(options: LanguageModelOptions, tokeniser: Tokeniser) -> tuple[Weights, float]:
    """Weights that know the sentence, and the loss that is left, in nats per character."""
    ids = torch.from_numpy(tokeniser.encode(f"\n{SENTENCE}\n")).long()
    inputs, targets = ids[:-1, None], ids[1:]  # a text begins after a newline, and a newline ends it
    start = language_model.initial_weights(options, tokeniser.size, seed=1)
    parameters = {name: torch.from_numpy(value).requires_grad_() for name, value in start.items()}
    optimiser = torch.optim.Adam(parameters.values(), lr=0.02)
    for _ in range(STEPS):
        state = language_model.begin(parameters, options, batch=1)
        features, _ = language_model.forward(parameters, options, inputs, state, run_layer=recurrence.unroll)
        weight, bias = language_model.output_layer(parameters)
        loss = linear_cross_entropy(features[:, 0], weight, bias, targets) / len(targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: value.detach().numpy() for name, value in parameters.items()}, loss.item()


def continue_text(weights: Weights, options: LanguageModelOptions, tokeniser: Tokeniser, seed: str) -> str:
    """The seed and the most probable characters after it, to the end of the line."""
    state = language_model.begin(weights, options, batch=1)
    written = [NEWLINE, *tokeniser.encode(seed).tolist()]
    for token in written:
        log_probabilities, state = language_model.step(weights, options, np.array([token]), state)
    while (token := int(log_probabilities[0].argmax())) != NEWLINE and len(written) < 100:
        written.append(token)
        log_probabilities, state = language_model.step(weights, options, np.array([token]), state)
    return tokeniser.decode(written[1:])


def main() -> None:
    """Learn the sentence and print what the seed makes of it."""
    tokeniser = train_tokeniser("char", [SENTENCE], vocabulary_size=256)
    options = LanguageModelOptions(cell="lstm", hidden_size=64, embedding_size=16)
    weights, loss = learn(options, tokeniser)
    print(f"learned:   {SENTENCE}")
    print(f"loss:      {loss:.4f} nats per character after {STEPS} steps")
    print(f"seed:      {SEED}")
    print(f"generated: {continue_text(weights, options, tokeniser, SEED)}")


if __name__ == "__main__":
    main()
