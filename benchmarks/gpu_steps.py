"""Whole training steps on a GPU, ours beside the same models of torch.nn: for the record that `gpu_record.py` makes.

A step is embedding, layers, output, loss, gradients, clipping and fused AdamW, on a batch that lies on the device. Both
sides start from the same weights, so their first losses must agree. torch.nn's runs under autocast to bf16, as users
run it. Called, a small model's step is its launches; as a CUDA graph it is the GPU's own time. The price of building
each model twice is that it is not the training loop that is timed: the record's part `train` does that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gpu_cells import Row, Turn, contenders, timings, until, wake, ways_taken
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nlpseq.cells import Cell
from nlpseq.kernels.choice import Choice, choose, rounded_products
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.translator import TranslatorOptions

LABELS = 2
SMOOTHING = 0.1


class Sizes(NamedTuple):
    """Units, sequences and steps of a training step; each task has a vocabulary of its own."""

    hidden: int
    batch: int
    time: int
    vocabulary: int
    unequal: bool = False  # whether lengths are uniform from half of the steps to all


@dataclass
class Pair:
    """A loss of ours and the same of torch.nn, each a function of nothing with its parameters."""

    ours: Callable[[], Tensor]
    our_parameters: list[Tensor]
    theirs: Callable[[], Tensor]
    their_parameters: list[Tensor]
    tokens: int

    def turns(self) -> tuple[Turn, Turn]:
        """A training step of each."""
        return training_step(self.ours, self.our_parameters), training_step(self.theirs, self.their_parameters)


def training_step(loss: Callable[[], Tensor], parameters: list[Tensor]) -> Turn:
    """Loss, gradients, clipping to a norm of 1, and an update by fused AdamW."""
    on_gpu = parameters[0].is_cuda
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, fused=True, capturable=on_gpu)

    def step() -> Tensor:
        found = loss()
        for parameter, grad in zip(parameters, torch.autograd.grad(found, parameters), strict=True):
            parameter.grad = grad
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        return found.detach()

    return step


class Batch(NamedTuple):
    """Random ids [T, B] and their lengths [B], on a device, None where all are of one length."""

    ids: Tensor
    targets: Tensor
    lengths: Tensor
    on_host: Tensor | None
    equal: bool

    @classmethod
    def draw(cls, sizes: Sizes, device: str) -> Batch:
        """The same for the same sizes."""
        generator = torch.Generator().manual_seed(3)
        ids, targets = torch.randint(0, sizes.vocabulary, (2, sizes.time, sizes.batch), generator=generator)
        low = sizes.time // 2 if sizes.unequal else sizes.time
        lengths = torch.randint(low, sizes.time + 1, (sizes.batch,), generator=generator)
        return cls(ids.to(device), targets.to(device), lengths.to(device), lengths, not sizes.unequal)


def _tensors(weights: Mapping[str, np.ndarray], device: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value.copy()).to(device).requires_grad_() for name, value in weights.items()}


def _run_layer(choice: Choice, *, equal: bool) -> Callable[..., Any]:
    """What runs a layer; `equal` lengths are not handed on, as torch.nn is not told them either."""

    def run(cell: Cell, weights: Any, inputs: Tensor, state: Any, lengths: Any = None, **settings: Any) -> Any:
        return choice.run_layer(cell, weights, inputs, state, None if equal else lengths, **settings)

    def run_directions(cell: Cell, weights: Any, inputs: Tensor, states: Any, lengths: Any = None, **given: Any) -> Any:
        return choice.run_layer.run_directions(cell, weights, inputs, states, None if equal else lengths, **given)  # type: ignore[attr-defined]

    if hasattr(choice.run_layer, "run_directions"):
        run.run_directions = run_directions  # type: ignore[attr-defined]
    return run


def _mixed(device: str) -> Any:
    return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext()


def _recurrent(module: nn.RNNBase, weights: Mapping[str, np.ndarray], prefix: str) -> nn.RNNBase:
    """A module of torch.nn with the weights PREFIX.LAYER.FIELD of ours, `_reverse` at the end of the backward ones."""
    state = {}
    for name in module.state_dict():
        field, _, rest = name.partition("_l")
        layer, _, reverse = rest.partition("_")
        state[name] = torch.from_numpy(weights[f"{prefix}.{layer}.{field}{'_reverse' if reverse else ''}"])
    module.load_state_dict(state)
    return module


def _linear(weight: np.ndarray, bias: np.ndarray | None = None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    state = {"weight": torch.from_numpy(weight)} | ({} if bias is None else {"bias": torch.from_numpy(bias)})
    made.load_state_dict(state)
    return made


def _over(layers: nn.RNNBase, inputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Outputs and last hidden states; of unequal lengths as a user runs it, packed and padded."""
    if batch.equal:
        outputs, last = layers(inputs)
        return outputs, last
    packed, last = layers(pack_padded_sequence(inputs, batch.on_host, enforce_sorted=False))
    return pad_packed_sequence(packed, total_length=len(inputs))[0], last


class TorchLanguageModel(nn.Module):
    """Embedding, LSTM layers, output."""

    def __init__(self, weights: Mapping[str, np.ndarray], layers: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(weights["embedding.weight"]), freeze=False)
        self.layers = _recurrent(nn.LSTM(hidden, hidden, layers), weights, "layers")
        self.output = _linear(weights["output.weight"], weights["output.bias"])

    def loss(self, batch: Batch) -> Tensor:
        """Per token, in nats."""
        features, _ = self.layers(self.embedding(batch.ids))
        return cross_entropy(self.output(features).float().flatten(0, 1), batch.targets.flatten())


def language_models(sizes: Sizes, choice: Choice, device: str = "cuda") -> Pair:
    """Two LSTM layers between an embedding and an output, as a character model has."""
    options = LanguageModelOptions(
        layers=2, hidden_size=sizes.hidden, embedding_size=sizes.hidden, tied=False, ngrams=1, initial="normal"
    )
    weights = language_model.initial_weights(options, sizes.vocabulary, seed=1)
    parameters, batch = _tensors(weights, device), Batch.draw(sizes, device)
    state = language_model.begin({name: value.detach() for name, value in parameters.items()}, options, sizes.batch)
    theirs = _placed(TorchLanguageModel(weights, 2, sizes.hidden), device)

    def ours() -> Tensor:
        features, _ = language_model.forward(parameters, options, batch.ids, state, run_layer=choice.run_layer)
        output = language_model.output_layer(parameters)
        total = linear_cross_entropy(features.flatten(0, 1), *output, batch.targets.flatten(), choice.operands)
        return total / batch.targets.numel()

    return _pair(ours, parameters, theirs, batch, device)


class TorchTranslator(nn.Module):
    """A GRU encoder in both directions, a GRU that queries it, one above, and a readout tied to the embedding."""

    def __init__(self, weights: Mapping[str, np.ndarray], hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(weights["embedding.weight"]), freeze=False)
        self.encoder = _recurrent(nn.GRU(hidden, hidden, bidirectional=True), weights, "encoder")
        self.bridge = _linear(weights["bridge.weight"], weights["bridge.bias"])
        self.query = _recurrent(nn.GRU(hidden, hidden), weights, "query")
        self.key = _linear(weights["attention.key"])
        self.upper = _recurrent(nn.GRU(3 * hidden, hidden), weights, "upper")
        self.readout = _linear(weights["readout.weight"], weights["readout.bias"])
        self.bias = nn.Parameter(torch.from_numpy(weights["output.bias"]))

    def loss(self, batch: Batch) -> Tensor:
        """Per target token, smoothed, in nats."""
        outputs, last = _over(self.encoder, self.embedding(batch.ids), batch)
        memory = outputs.transpose(0, 1)
        first, second = torch.tanh(self.bridge(torch.cat([*last], -1))).chunk(2, -1)
        inputs = torch.cat([torch.full_like(batch.targets[:1], translator.NEWLINE), batch.targets[:-1]])
        embedded = self.embedding(inputs)
        queries, _ = self.query(embedded, first[None].float().contiguous())
        energies = queries.transpose(0, 1) @ self.key(memory).transpose(1, 2) * queries.shape[-1] ** -0.5
        real = torch.arange(memory.shape[1], device=memory.device)[None, None] < batch.lengths[:, None, None]
        shares = energies.masked_fill(~real, torch.finfo(energies.dtype).min).softmax(-1)
        context = (shares.to(memory.dtype) @ memory).transpose(0, 1)
        above, _ = self.upper(torch.cat([queries, context], -1), second[None].float().contiguous())
        features = torch.tanh(self.readout(torch.cat([above, context, embedded], -1)))
        logits = nn.functional.linear(features, self.embedding.weight, self.bias).float()
        return cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), label_smoothing=SMOOTHING)


def translators(sizes: Sizes, choice: Choice, device: str = "cuda") -> Pair:
    """Our usual translator: sources of the given lengths, targets as long as the longest."""
    options = TranslatorOptions(hidden_size=sizes.hidden, embedding_size=sizes.hidden, initial="normal")
    weights = translator.initial_weights(options, sizes.vocabulary, seed=1)
    parameters, batch = _tensors(weights, device), Batch.draw(sizes, device)
    run_layer = _run_layer(choice, equal=batch.equal)
    begun = torch.cat([torch.full_like(batch.targets[:1], translator.NEWLINE), batch.targets[:-1]])

    def ours() -> Tensor:
        memory, state = translator.encode(parameters, options, batch.ids, batch.lengths, run_layer=run_layer)
        features, _, _ = translator.decode(parameters, options, begun, memory, state, run_layer=choice.run_layer)
        output = translator.output_layer(parameters)
        flat = features.flatten(0, 1), *output, batch.targets.flatten()
        return linear_cross_entropy(*flat, choice.operands, SMOOTHING) / batch.targets.numel()

    return _pair(ours, parameters, _placed(TorchTranslator(weights, sizes.hidden), device), batch, device)


class TorchClassifier(nn.Module):
    """Embedding, GRU layers in both directions, the largest and the mean of their outputs, output."""

    def __init__(self, weights: Mapping[str, np.ndarray], layers: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(weights["embedding.weight"]), freeze=False)
        inputs = self.embedding.weight.shape[1]
        self.layers = _recurrent(nn.GRU(inputs, hidden, layers, bidirectional=True), weights, "layers")
        self.output = _linear(weights["output.weight"], weights["output.bias"])

    def loss(self, batch: Batch) -> Tensor:
        """Per text, in nats."""
        outputs, _ = _over(self.layers, self.embedding(batch.ids), batch)
        real = (torch.arange(len(outputs), device=outputs.device)[:, None] < batch.lengths[None])[..., None]
        pooled = torch.cat(
            [
                outputs.masked_fill(~real, torch.finfo(outputs.dtype).min).amax(0),
                outputs.sum(0) / batch.lengths[:, None],
            ],
            -1,
        )
        return cross_entropy(self.output(pooled).float(), batch.targets[0] % LABELS)


def classifiers(sizes: Sizes, choice: Choice, device: str = "cuda") -> Pair:
    """Two GRU layers in both directions over texts of the given lengths."""
    options = ClassifierOptions(
        layers=2,
        hidden_size=sizes.hidden,
        embedding_size=sizes.hidden,
        bidirectional=True,
        ngrams=1,
        evidence=0,
        initial="normal",
    )
    weights = classifier.initial_weights(options, sizes.vocabulary, np.ones(LABELS), seed=1)
    parameters, batch = _tensors(weights, device), Batch.draw(sizes, device)
    run_layer = _run_layer(choice, equal=batch.equal)

    def ours() -> Tensor:
        read = classifier.read(parameters, options, batch.ids, batch.lengths, run_layer=run_layer)
        return cross_entropy(classifier.logits(parameters, options, read), batch.targets[0] % LABELS)

    return _pair(ours, parameters, _placed(TorchClassifier(weights, 2, sizes.hidden), device), batch, device)


def _placed(module: nn.Module, device: str) -> nn.Module:
    """A module on a device, the weights of each recurrent layer in one buffer."""
    module.to(device)
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            part.flatten_parameters()
    return module


def _pair(
    ours: Callable[[], Tensor], parameters: dict[str, Tensor], theirs: nn.Module, batch: Batch, device: str
) -> Pair:
    def their_loss() -> Tensor:
        with _mixed(device):
            return theirs.loss(batch)  # type: ignore[operator]

    return Pair(ours, [*parameters.values()], their_loss, [*theirs.parameters()], int(batch.lengths.sum()))


TASKS: dict[str, tuple[Callable[..., Pair], tuple[tuple[Any, ...], ...]]] = {
    "language model": (
        language_models,
        ((512, 64, 64, 256), (512, 256, 128, 256), (1024, 128, 128, 256), (2048, 128, 128, 256)),
    ),
    "translation": (translators, ((256, 128, 24, 8192), (512, 128, 24, 8192), (256, 128, 24, 8192, True))),
    "classification": (classifiers, ((64, 32, 24, 8192), (256, 64, 256, 8192), (256, 64, 256, 8192, True))),
}


def _rows() -> list[tuple[str, Sizes]]:
    return [(task, Sizes(*sizes)) for task, (_, every) in TASKS.items() for sizes in every]


def step_row(task: str, sizes: Sizes, device: str = "cuda") -> Row:
    """A row of the table: both losses at the start, and milliseconds of a step."""
    make, _ = TASKS[task]
    choice = choose("auto", "bf16" if device == "cuda" else "fp32", device)
    with rounded_products(choice), ways_taken() if device == "cuda" else nullcontext([]) as taken:  # as in training
        pair = make(sizes, choice, device)
        losses = float(pair.ours().detach()), float(pair.theirs().detach())
        called, graphs, reasons = timings(pair.turns(), device)
    fastest = graphs[0] or called[0]
    return {
        "table": "Training steps, milliseconds",
        "task": task,
        "H, B, T, V": ", ".join(map(str, sizes[:4])),
        "lengths": "T/2 to T" if sizes.unequal else "equal",
        "ways": " ".join(taken),
        **contenders(called[0], called[1], graphs[0], graphs[1]),
        "tokens/s": None if fastest is None else round(1000 * pair.tokens / fastest),
        "first loss": round(losses[0], 4),
        "torch.nn's": round(losses[1], 4),
        **({"why not": "; ".join(reasons)} if reasons else {}),
    }


def measure(deadline: float) -> Iterator[Row]:
    """All steps until `deadline` of `time.monotonic`; what fails or is left out is a row too."""
    warnings.simplefilter("ignore")  # that capturable optimisers are made for graphs
    wake()
    jobs = (
        (f"{task} {sizes[:4]}{' unequal' * sizes.unequal}", partial(step_row, task, sizes)) for task, sizes in _rows()
    )
    yield from until(deadline, jobs)


def warm_jobs() -> list[tuple[str, Sizes]]:
    """Task and sizes of few steps of every row, so that its kernels can be compiled before."""
    return [(task, sizes if sizes.time % 16 else sizes._replace(time=16)) for task, sizes in _rows()]


def warm(task: str, sizes: Sizes) -> None:
    """Compile the kernels of a step by taking it once."""
    choice = choose("auto", "bf16", "cuda")
    with rounded_products(choice):
        TASKS[task][0](sizes, choice).turns()[0]()
        torch.cuda.synchronize()
