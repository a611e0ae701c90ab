"""Training tokens a second of a word language model, ours beside the usual torch.nn one, in one run.

The model and the batch are those of the word_language_model example of PyTorch: two LSTM layers of 200 units, tied
embeddings, dropout 0.2, batches of 20 x 35, SGD with a rate of 20 and gradients clipped to 0.25, full softmax, fp32.
Ours is timed with the full softmax too and with the sampled one, which is what `train lm` chooses for a large
vocabulary.

    python benchmarks/word_training_speed.py CORPUS [--steps 30] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.training.data.batches import StreamBatches
from nlpseq.training.data.corpus import TokenisedCorpus
from nlpseq.training.options import CorpusOptions, LanguageModelTraining
from nlpseq.training.tasks.language_model import LanguageModelRun, Request

BATCH, STEPS, SIZE, LAYERS = 20, 35, 200, 2


class TorchModel(nn.Module):
    """The same model on torch.nn."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.embedding = nn.Embedding(vocabulary, SIZE)
        self.layers = nn.LSTM(SIZE, SIZE, LAYERS, dropout=0.2)
        self.output = nn.Linear(SIZE, vocabulary)
        self.output.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        features, state = self.layers(self.drop(self.embedding(ids)), state)
        return self.output(self.drop(features)).flatten(0, 1).log_softmax(1), state


def torch_step(corpus: TokenisedCorpus) -> Callable[[], None]:
    """One training step of the example, as it is written there."""
    model = TorchModel(corpus.tokeniser.size)
    batches = StreamBatches(corpus.train, BATCH, STEPS, 1)
    state = torch.zeros(LAYERS, BATCH, SIZE), torch.zeros(LAYERS, BATCH, SIZE)

    def step() -> None:
        nonlocal state
        ids, targets = (torch.from_numpy(values) for values in batches.next())
        model.zero_grad()
        predicted, new = model(ids, state)
        state = new[0].detach(), new[1].detach()
        nn.functional.nll_loss(predicted, targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-20.0)

    return step


def our_run(corpus: str, folder: Path, softmax: str) -> LanguageModelRun:
    """The same model and batch as a training run of ours."""
    request = Request(
        corpus=(corpus,),
        out=folder,
        corpus_options=CorpusOptions(tokens="word"),
        model=LanguageModelOptions(layers=LAYERS, hidden_size=SIZE, embedding_size=SIZE, tied=True, ngrams=1),
        training=LanguageModelTraining(
            steps=1_000_000,
            batch_size=BATCH,
            sequence_length=STEPS,
            optimiser="sgd",
            learning_rate=20.0,
            clip=0.25,
            dropout=0.2,
            input_dropout=0.2,
            softmax=softmax,
            precision="fp32",
        ),
    )
    return LanguageModelRun(request)


def main() -> None:
    """Time all three in turn, and print medians and ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: our_run(arguments.corpus, Path(folder) / name, name) for name in ("full", "sampled")}
        steps: dict[str, Callable[[], object]] = {"torch.nn": torch_step(runs["full"].corpus)}
        steps |= {f"ours, {name} softmax": run.run._one_step for name, run in runs.items()}
        speeds: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(arguments.rounds + 1):
            for name, step in steps.items():
                begun = time.perf_counter()
                for _ in range(arguments.steps):
                    step()
                if turn:
                    speeds[name].append(arguments.steps * BATCH * STEPS / (time.perf_counter() - begun))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in zip(values, speeds["torch.nn"], strict=True))
        for name, values in speeds.items()
    }
    print(
        json.dumps(
            {
                "tokens_per_second": {name: round(value) for name, value in medians.items()},
                "ratio": {name: round(value, 2) for name, value in ratios.items()},
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "machine": platform.processor() or platform.machine(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
