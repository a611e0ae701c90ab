"""A language model's state in a file, so that reading or writing a text can continue later.

The file identifies its model by the checksum of the model file, because the numbers mean nothing to any other model,
and even one more training step changes what they mean.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlpseq import __version__
from nlpseq.arrays import type_name
from nlpseq.errors import ModelFileError, RunError
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.models.model_file import CHECKSUM, FORMAT, Model, read_tensors, write_tensors
from nlpseq.models.storage import Layout, is_finite
from nlpseq.models.structure import check_layouts
from nlpseq.paths import exists, is_folder, need_target


def save_state(path: Path, model: Model, state: LanguageModelState, last: int) -> None:
    """Write the state of one text and its `last` token.

    Raises RunError if the file cannot be written.
    """
    header = {"format": FORMAT, "version": __version__, "model": model.header[CHECKSUM], "last": last}
    try:
        write_tensors(path, header, language_model.flatten_state(state))
    except RunError as error:
        raise RunError(error.where, error.what, "name another file") from error


def check_state_target(path: Path) -> None:
    """Raises RunError if no file can be written there. Call it before the work whose state is to be saved."""
    if is_folder(path):
        raise RunError(str(path), "is a folder, not a file", f"--save-state {path / 'NAME.state'}")
    need_target(path, "--save-state")
    if not is_folder(path.absolute().parent):
        raise RunError(str(path), f"there is no folder {path.parent}", f"mkdir -p {shlex.quote(str(path.parent))}")


def load_state(path: Path, model: Model, options: LanguageModelOptions) -> tuple[LanguageModelState, int]:
    """The state of one text and its last token.

    Raises ModelFileError if the file is missing, damaged or not a state, or belongs to another model.
    """
    if not exists(path):
        raise ModelFileError(str(path), "there is no such state", "write one with --save-state")
    try:
        header, named = read_tensors(path)
    except ModelFileError as error:
        what = error.what.replace("is no model file", "is not the state of a model")
        raise ModelFileError(str(path), what, "write one with --save-state") from error
    if not isinstance(header.get("model"), str):
        raise ModelFileError(str(path), "is not the state of a model", "write one with --save-state")
    if header["model"] != model.header[CHECKSUM]:
        raise ModelFileError(str(path), f"is the state of another model than {model.name}", "name its model with -m")
    try:
        return _checked(named, model, options), _last(header.get("last"), model.tokeniser.size)
    except ValueError as error:
        raise ModelFileError(str(path), f"is damaged: {error}", "write it again with --save-state") from error


def _checked(named: Mapping[str, Any], model: Model, options: LanguageModelOptions) -> LanguageModelState:
    """The state in named arrays. Raises ValueError unless it is one of this model: its arrays, types and tokens."""
    like = language_model.begin(model.weights, options, 1)
    expected = language_model.flatten_state(like)
    found = {name: Layout(value.shape, str(value.dtype)) for name, value in named.items()}
    shapes = {name: tuple(value.shape) for name, value in expected.items()}
    check_layouts(found, shapes, {name: type_name(value) for name, value in expected.items()})
    for name, value in named.items():
        if not is_finite(value):
            raise ValueError(f"{name} has numbers that are not finite")
    recent = named["recent"]
    if recent.size and not 0 <= recent.min() <= recent.max() < model.tokeniser.size:
        raise ValueError("it has read a token that the model does not have")
    return language_model.restore_state(named, like)


def _last(token: Any, size: int) -> int:
    """The last token. Raises ValueError unless it is one of a vocabulary."""
    if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < size:
        raise ValueError("its last token is not in the vocabulary of the model")
    return token
