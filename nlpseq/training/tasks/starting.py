"""What a run starts from: the kernel for its model, and the options and tokens of an earlier model."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from nlpseq.errors import OptionError
from nlpseq.kernels.choice import Choice, choose
from nlpseq.models.model_file import Model
from nlpseq.models.options import RecurrentOptions
from nlpseq.options import flag
from nlpseq.training.options import CorpusOptions, TrainingOptions

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def precision_of(choice: Choice) -> str:
    """The number format of a kernel, as an option."""
    return PRECISIONS[str(choice.operands).removeprefix("torch.")]


def choose_kernel(training: TrainingOptions, model: RecurrentOptions) -> Choice:
    """Choose device, kernels and precision. Raises BackendError if what was requested cannot train the model."""
    return choose(
        training.backend,
        training.precision,
        training.device,
        model.recurrent_cell.name,
        layer_normalisation=model.layer_normalisation,
        zoneout=model.zoneout,
    )


def options_of(earlier: Model, requested: RecurrentOptions) -> RecurrentOptions:
    """The options of a model to start from. Raises OptionError if other options are requested."""
    options = replace(requested, **earlier.options)
    for field in fields(requested):
        value, old = getattr(requested, field.name), getattr(options, field.name)
        if value not in (None, field.default, old):
            raise OptionError(field.name, f"is {old} in {earlier.name}, was {value}", f"leave out {flag(field.name)}")
    return options


def refuse_own_folder(name: str, model: Model, folder: Path) -> None:
    """Raises OptionError if the run would replace a model that it needs; `name` is the option that named the model."""
    if model.path.resolve().parent == folder.resolve():
        what = f"is in {folder}, where --overwrite would replace it by the new model"
        raise OptionError(name, what, f"--out {folder}-2")


def refuse_other_tokens(earlier: Model, requested: CorpusOptions) -> None:
    """Raises OptionError if another tokeniser is requested than that of the model to start from."""
    tokeniser, path = earlier.tokeniser, earlier.name
    if requested.tokens not in ("auto", tokeniser.kind):
        raise OptionError("tokens", f"is {tokeniser.kind} in {path}, was {requested.tokens}", "leave out --tokens")
    if requested.vocab_size not in (None, tokeniser.size):
        what = f"is {tokeniser.size} in {path}, was {requested.vocab_size}"
        raise OptionError("vocab_size", what, "leave out --vocab-size")
