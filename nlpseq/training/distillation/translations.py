"""Teachers of a translator: their translations of the training sources take the place of the targets.

That is sequence-level distillation (Kim and Rush, 2016): the student learns the best translation of a beam search,
which is easier to learn than what people wrote, because one text is always translated alike. Kim and Rush trained on
the teacher's translations alone, and found against adding the targets themselves: two different targets of one source
are hard to learn for a small model.

A beam search takes longer than a training step, so a run of minutes translates for half of them at most. The sources
that it comes to are spread over the corpus, which may be sorted. Their number is an option of the run, so that a run of
steps repeats it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Ranked, Translations
from nlpseq.errors import ModelFileError
from nlpseq.models.model_file import read_options
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.progress import Watch, watched_rows
from nlpseq.text.tables.parallel import Pairs
from nlpseq.text.tables.stored_rows import StoredTexts
from nlpseq.training.distillation.teachers import Teachers
from nlpseq.training.length import DEFAULT_MINUTES
from nlpseq.training.requests import TranslatorRequest
from nlpseq.workers import usual_processes

AT_ONCE = 512  # lines
WORTH_WORKERS = 2000  # lines, for which worker processes are started
RUN = 64  # lines of the corpus, one after the other, that are translated together
GOLDEN = 0.618  # of all runs lie between one run and the next one that is translated
TRANSLATING = 0.5  # of the minutes of a run, at most
MARGIN = 1.2  # the translations may take longer than those so far let expect


class Allowance:
    """The time for translations in a run of minutes, which began at `started`; `now` is a clock in seconds."""

    def __init__(self, minutes: float, started: float, now: Callable[[], float] = time.monotonic) -> None:
        self.minutes = minutes
        self.started = started
        self.now = now
        self.begun = now()
        self.done = 0  # lines

    @classmethod
    def of(cls, request: TranslatorRequest, started: float) -> Allowance | None:
        """That of a new run; None if its length, or the number of the sources, does not depend on the clock."""
        training = request.training
        if request.resume or (request.translated, training.steps, training.epochs) != (None, None, None):
            return None
        return cls(DEFAULT_MINUTES if training.minutes is None else training.minutes, started)

    def fits(self, handed_out: int) -> bool:
        """Whether AT_ONCE more lines can be translated in time, after those that were handed out; at least once."""
        if not handed_out:
            return True
        waiting = handed_out + AT_ONCE - self.done
        seconds = waiting * (self.now() - self.begun) / self.done if self.done else 0.0
        return self.now() + seconds <= self.started + TRANSLATING * 60 * self.minutes

    def note(self, total: int) -> str:
        """What the user should know if not all of the `total` lines were translated."""
        now = self.now()
        whole = self.begun - self.started + (now - self.begun) * total / max(1, self.done)
        minutes = math.ceil(MARGIN * whole / TRANSLATING / 60)
        took = f"which took {now - self.begun:.0f} of {60 * self.minutes:.0f} seconds"
        return f"learns translations of {self.done:,} of the {total:,} sources, {took}; for all: --minutes {minutes}"


class PairTeachers:
    """Translators that translate training sources together."""

    def __init__(self, teachers: Teachers, request: TranslatorRequest, device: str, started: float) -> None:
        """The teachers of a run, whose minutes began at `started`. Raises ModelFileError for other vocabularies."""
        loaded = [(model, read_options(model, TranslatorOptions)) for model in teachers.models]
        self.translations = Translations(Ensemble.of(loaded, device), BeamOptions())
        self.processes = 1 if device != "cpu" else usual_processes()
        self.request = request  # with the number of sources that were translated, unless all were
        self.allowance = Allowance.of(request, started)
        self.notes: list[str] = []
        self.paths = teachers.paths

    def teach(self, pairs: Pairs, folder: Path, watch: Watch) -> Pairs:
        """Pairs of each source and its translation, in the order of the corpus, in temporary files in a folder.

        A source that is too long to be translated is left out. Raises ModelFileError if none is left, and RunError if
        the pairs cannot be kept.
        """
        translated = StoredTexts(folder)
        for text in self._translated(pairs.sources, watch):
            translated.append(text)
        total, count = len(pairs), len(translated)
        if count < total:
            self.request = replace(self.request, translated=count)
            self.notes = [] if self.allowance is None else [self.allowance.note(total)]
        sources, targets = StoredTexts(folder), StoredTexts(folder)
        for start, first in sorted(_places(total, count)):
            own = pairs.span(start, min(start + RUN, total))
            for source, target, text in zip(own.sources, own.targets, translated[first : first + RUN], strict=False):
                for learned in [text] + [target] * self.request.originals:
                    if learned.strip():
                        sources.append(source)
                        targets.append(learned)
        if not sources:
            what = "translates none of the sources: a student can learn nothing from it"
            raise ModelFileError(" and ".join(self.paths), what, "train it longer, or take another")
        return Pairs(sources, targets, pairs.blank, pairs.notes)

    def _translated(self, sources: Sequence[str], watch: Watch) -> Iterator[str]:
        count = min(len(sources), self.request.translated or len(sources))
        runs = (sources[start : start + RUN] for start in starts_of_runs(len(sources)))
        rows = watched_rows(islice(chain.from_iterable(runs), count), watch, "translating", count)
        portions = self._in_time(iter(lambda: list(islice(rows, AT_ONCE)), []))
        if self.processes == 1 or count < WORTH_WORKERS:
            yield from self._best(map(self.translations.translate, portions))
            return
        with closing(self.translations.by_workers(portions, self.processes)) as answers:
            yield from self._best(answers)

    def _in_time(self, portions: Iterator[list[str]]) -> Iterator[list[str]]:
        """Portions of lines for as long as there is time for one more."""
        handed_out = 0
        while self.allowance is None or self.allowance.fits(handed_out):
            portion = next(portions, None)
            if portion is None:
                return
            handed_out += len(portion)
            yield portion

    def _best(self, answers: Iterable[list[Ranked]]) -> Iterator[str]:
        """The best translation of each source, portion by portion; empty for a source without one."""
        for portion in answers:
            if self.allowance is not None:
                self.allowance.done += len(portion)
            for ranked in portion:
                yield ranked[0].text if ranked else ""


def starts_of_runs(count: int) -> Iterator[int]:
    """The first lines of all runs among `count` lines, in an order whose beginning is spread over all of them."""
    runs = math.ceil(count / RUN)
    step = next(step for step in range(max(1, round(GOLDEN * runs)), runs + 2) if math.gcd(step, runs) == 1)
    return (number * step % runs * RUN for number in range(runs))


def _places(total: int, count: int) -> Iterator[tuple[int, int]]:
    """The first line of each run of which the first `count` translations have lines, and its first translation."""
    place = 0
    for start in starts_of_runs(total):
        if place >= count:
            return
        yield start, place
        place += min(RUN, total - start)
