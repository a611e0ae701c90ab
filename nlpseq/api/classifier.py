"""A classifier in Python: label texts, say why, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

from nlpseq import tasks
from nlpseq.api.model import Texts, TrainedModel, as_list, check_text, make_options
from nlpseq.api.paths import as_names, as_path
from nlpseq.decoding.classification import Decision, TextClassifier
from nlpseq.evaluation.classifier_report import ClassifierReport, classifier_report
from nlpseq.evaluation.comparison.resampling import ResamplingOptions, when_confident
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.insight.words import WordWeights, explain
from nlpseq.text.tables.label_tables import label_columns
from nlpseq.training.columns import as_columns


class Classifier(TrainedModel):
    """A classifier."""

    task = tasks.CLASSIFIER

    def __init__(self, path: str | bytes | Path, *, device: str = "cpu") -> None:
        """Raises ModelFileError if there is no such model, BackendError if there is no such device."""
        self.classifier = TextClassifier.load(as_path(path), device)
        self.device = device
        self.model, self.options = self.classifier.model, self.classifier.options

    @classmethod
    def load(cls, path: str | bytes | Path, *, device: str = "cpu") -> Classifier:
        """The classifier in a file or run folder."""
        return cls(path, device=device)

    @property
    def labels(self) -> list[str]:
        """The labels that a text may have."""
        return self.classifier.labels

    @overload
    def classify(self, texts: str) -> Decision: ...

    @overload
    def classify(self, texts: Texts) -> list[Decision]: ...

    def classify(self, texts: str | Texts) -> Decision | list[Decision]:
        """The labels of a text, or of each of several: the most probable first, with calibrated probabilities.

        If a text may have several labels, those that apply are its `chosen` ones. A blank text gets labels too, where
        `nlpseq classify` leaves the line blank.
        """
        decisions = self.classifier.classify(as_list(texts, "texts"))
        return decisions[0] if isinstance(texts, str) else decisions

    def words(self, text: str, label: str | None = None) -> WordWeights:
        """The words of a text with what each adds to a label's log-odds, by default the most probable label's.

        Imports torch. Raises OptionError for a blank text or an unknown label.
        """
        return explain(self.classifier, check_text(text, "text"), label)

    def evaluate(
        self,
        *corpora: object,
        label_column: str | int | None = None,
        text_column: str | int | None = None,
        label_separator: str | None = None,
        confidence: bool = False,
        note: Note = say_nothing,
        **resampling: Any,
    ) -> list[Score]:
        """Accuracy, macro-F1, calibration error and loss on labelled texts; see `report`.

        If a text may have several labels: micro-F1, macro-F1, exact match, calibration error and loss.
        """
        columns: dict[str, Any] = {
            "label_column": label_column,
            "text_column": text_column,
            "label_separator": label_separator,
        }
        return self.report(*corpora, **columns, confidence=confidence, note=note, **resampling).scores

    def report(
        self,
        *corpora: object,
        label_column: str | int | None = None,
        text_column: str | int | None = None,
        label_separator: str | None = None,
        baseline: bool = False,
        confidence: bool = False,
        note: Note = say_nothing,
        **resampling: Any,
    ) -> ClassifierReport:
        """The scores with the confusion table and, with `baseline`, linear models of the same training texts.

        Without corpora the texts are those that training was validated on. `label_separator` is what separates several
        labels of a text, by default as in training. The columns are those of training, too, by default and in a file
        that has them. With `confidence` the scores have 95 % intervals, by the options `samples` and `random_seed`.
        `note` is called with what a reader of the scores should know. Raises CorpusError for texts that cannot be read,
        have other labels or are too few for intervals, and ModelFileError if texts of training are needed and cannot be
        used.
        """
        (chosen,) = make_options([ResamplingOptions], resampling, "evaluation")
        columns = label_columns(as_columns(label_column), as_columns(text_column), label_separator)
        return classifier_report(
            self.classifier,
            as_names(corpora),
            columns,
            baseline=baseline,
            note=note,
            resampling=when_confident(chosen, confidence=confidence, by_line=True),
        )
