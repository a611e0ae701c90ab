"""Which options go with texts without labels. torch is not imported here."""

from __future__ import annotations

from typing import Any

from nlpseq.errors import OptionError

BEFORE = ("unlabelled", "unlabelled_steps")  # options of a language model that is trained first


def check_unlabelled(request: Any) -> None:
    """Raises OptionError for options of a classifier that do not go with texts without labels, or need them."""
    training = request.training
    if "" in request.unlabelled:
        raise OptionError("unlabelled", "must be a file of texts, was empty", "leave out --unlabelled")
    if request.unlabelled and request.init_from is not None:
        what = "are alternatives: a language model is trained, or there is one already"
        raise OptionError("unlabelled and init_from", what, "leave out --unlabelled")
    if request.unlabelled and request.teacher:
        what = "exclude each other: a teacher labels texts without labels, which are named as CORPUS"
        raise OptionError("unlabelled and teacher", what, "leave out --unlabelled")
    if request.unlabelled_steps is None or request.resume:
        return
    if not request.unlabelled:
        raise OptionError("unlabelled_steps", "is for a language model of --unlabelled", "--unlabelled FILE")
    if training.steps is None and training.epochs is None:
        what = "goes with --steps or --epochs; minutes are divided between both models"
        raise OptionError("unlabelled_steps", what, "--epochs 3, or leave out --unlabelled-steps")
