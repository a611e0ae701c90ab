"""The scorer for a model and its task."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from nlpseq import arrays
from nlpseq.errors import OptionError
from nlpseq.evaluation.line_scores import LineScore, LineScorer, StreamScorer
from nlpseq.evaluation.pair_scores import PairScorer
from nlpseq.evaluation.reader import placed
from nlpseq.models import language_model, translator
from nlpseq.models.model_file import task_of
from nlpseq.models.state_file import load_state
from nlpseq.text.formats import read_text, split_lines


class Scorer(Protocol):
    """Scores lines, each batch after the one before."""

    def score_lines(self, lines: Sequence[str | None]) -> list[LineScore | None]:
        """The next lines, in order; None for a line that is None or cannot be scored."""

    def by_workers(self, portions: Iterable[Any], processes: int) -> Generator[list[LineScore | None], None, None]:
        """As `score_lines` for one portion of lines after another, by worker processes: see `in_order`."""

    def finish(self) -> None:
        """To be called after the last line. Raises CorpusError if more lines were expected."""


def load_scorer(
    path: Path,
    source: Path | None = None,
    *,
    follow: bool = False,
    state: Path | None = None,
    device: str = "cpu",
    processes: int = 1,
) -> Scorer:
    """A scorer with the model in a file or run folder: a language model, or a translator if there is a `source`.

    With `follow`, a language model reads the lines as one stream, continuing from a saved `state` if there is one.
    Raises OptionError for options that contradict each other, ModelFileError for a model or state that cannot be used,
    CorpusError for a source that cannot be read, and BackendError if the device is missing.
    """
    if state is not None and not follow:
        raise OptionError("state", "is for lines that follow each other", "--follow")
    if source is None and follow and processes > 1:
        what = "exclude each other: each line is scored given those before it"
        raise OptionError("follow and processes", what, "leave out --processes")
    if source is not None:
        if follow:
            raise OptionError("follow", "is for language models", "leave out --follow")
        pairs, pair_options = translator.load(path)
        return PairScorer(placed(pairs, device), pair_options, str(source), split_lines(read_text(source)))
    if task_of(path) == translator.TASK:
        raise OptionError("source", "is missing: a translator scores a text given its source", "--source FILE")
    loaded, options = language_model.load(path)
    start = None if state is None else load_state(state, loaded, options)[0]
    model = placed(loaded, device)
    if not follow:
        return LineScorer(model, options)
    if start is not None:
        like = model.weights["embedding.weight"]
        start = language_model.map_state(lambda value: arrays.from_numpy(value, like), start)
    return StreamScorer(model, options, start)
