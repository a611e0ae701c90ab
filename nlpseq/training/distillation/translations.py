"""Teachers of a translator: their translations of the training sources take the place of the targets.

That is sequence-level distillation (Kim and Rush, 2016): the student learns the best translation of a beam search,
which is easier to learn than what people wrote, because one text is always translated alike. Kim and Rush trained on
the teacher's translations alone, and found against adding the targets themselves: two different targets of one source
are hard to learn for a small model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
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
from nlpseq.workers import usual_processes

AT_ONCE = 512  # lines
WORTH_WORKERS = 2000  # lines, for which worker processes are started


class PairTeachers:
    """Translators that translate training sources together."""

    def __init__(self, teachers: Teachers, device: str = "cpu", *, originals: bool = False) -> None:
        """With `originals` the targets of the corpus are learned too. Raises ModelFileError for other vocabularies."""
        loaded = [(model, read_options(model, TranslatorOptions)) for model in teachers.models]
        self.translations = Translations(Ensemble.of(loaded, device), BeamOptions())
        self.processes = 1 if device != "cpu" else usual_processes()
        self.originals = originals
        self.paths = teachers.paths

    def teach(self, pairs: Pairs, folder: Path, watch: Watch) -> Pairs:
        """Pairs of each source and its translation, in temporary files in a folder.

        A source that is too long to be translated is left out. Raises ModelFileError if none is left, and RunError if
        the pairs cannot be kept.
        """
        sources, targets = StoredTexts(folder), StoredTexts(folder)
        translated = self._translated(pairs.sources, watch)
        for source, own, target in zip(pairs.sources, pairs.targets, translated, strict=True):
            for text in [target] + [own] * self.originals:
                if text.strip():
                    sources.append(source)
                    targets.append(text)
        if not sources:
            what = "translates none of the sources: a student can learn nothing from it"
            raise ModelFileError(" and ".join(self.paths), what, "train it longer, or take another")
        return Pairs(sources, targets, pairs.blank, pairs.notes)

    def _translated(self, sources: Sequence[str], watch: Watch) -> Iterator[str]:
        rows = watched_rows(sources, watch, "translating", len(sources))
        portions = iter(lambda: list(islice(rows, AT_ONCE)), [])
        if self.processes == 1 or len(sources) < WORTH_WORKERS:
            yield from _best(map(self.translations.translate, portions))
            return
        with closing(self.translations.by_workers(portions, self.processes)) as answers:
            yield from _best(answers)


def _best(answers: Iterable[list[Ranked]]) -> Iterator[str]:
    """The best translation of each source, portion by portion; empty for a source without one."""
    for ranked in chain.from_iterable(answers):
        yield ranked[0].text if ranked else ""
