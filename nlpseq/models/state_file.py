"""A language model's state in a file, so that reading or writing a text can continue later.

The file identifies its model by the checksum of the model file, because the numbers mean nothing to any other model,
and even one more training step changes what they mean.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from nlpseq import __version__
from nlpseq.errors import ModelFileError, RunError
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.models.model_file import CHECKSUM, FORMAT, Model, read_tensors, write_tensors


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
    if path.is_dir():
        raise RunError(str(path), "is a folder, not a file", f"--save-state {path / 'NAME.state'}")
    if not path.absolute().parent.is_dir():
        raise RunError(str(path), f"there is no folder {path.parent}", f"mkdir -p {shlex.quote(str(path.parent))}")


def load_state(path: Path, model: Model, options: LanguageModelOptions) -> tuple[LanguageModelState, int]:
    """The state of one text and its last token.

    Raises ModelFileError if the file is missing, damaged or not a state, or belongs to another model.
    """
    if not path.exists():
        raise ModelFileError(str(path), "there is no such state", "write one with --save-state")
    try:
        header, named = read_tensors(path)
    except ModelFileError as error:
        what = error.what.replace("is no model file", "is not the state of a model")
        raise ModelFileError(str(path), what, "write one with --save-state") from error
    if "model" not in header:
        raise ModelFileError(str(path), "is not the state of a model", "write one with --save-state")
    if header["model"] != model.header[CHECKSUM]:
        raise ModelFileError(str(path), f"is the state of another model than {model.name}", "name its model with -m")
    try:
        like = language_model.begin(model.weights, options, 1)
        return language_model.restore_state(named, like), int(header["last"])
    except (KeyError, ValueError) as error:
        raise ModelFileError(str(path), f"is damaged: {error}", "write it again with --save-state") from error
