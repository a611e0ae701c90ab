"""`nlpseq classify`: a text in, its label and the label's probability out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.filters import Answers, filter_texts
from nlpseq.commands.flags import ClassifierPath, Device, Quiet, application, command
from nlpseq.commands.inputs import LineOptions
from nlpseq.decoding.classification import AbstentionOptions, Decision, TextClassifier, decision_status
from nlpseq.errors import OptionError
from nlpseq.native.memory import keep_freed_memory
from nlpseq.tasks import CLASSIFIER

app = application("The label of each text.")

LabelsOnly = Annotated[bool, typer.Option("--labels-only", help="Write labels without their probabilities.")]
All = Annotated[bool, typer.Option("--all", help="Write all labels, the most probable first.")]


@command(app)
def classify(
    model: ClassifierPath = None,
    all: All = False,
    labels_only: LabelsOnly = False,
    device: Device = "cpu",
    quiet: Quiet = False,
    *,
    lines: LineOptions,
    abstention: AbstentionOptions,
) -> None:
    """Write one line for each text or line of a file: its label, a tab, and the label's probability.

    With --all the other labels and their probabilities follow, separated by tabs. A line that is blank, too long or
    not an object gets a blank line. Probabilities are calibrated on the validation texts of training. In objects
    `status` is ok, in-part (only the first 100,000 tokens were read), blank, too-long, no-text, invalid-json or
    invalid-utf8. If your object already has a field `label`, it is kept as `given_label`, and so on.

    \b
      nlpseq classify "a dull film"
      nlpseq classify --labels-only reviews.txt | paste - reviews.txt
      nlpseq classify --threshold 0.9 --abstain ask-a-human < mails.txt
      nlpseq classify --jsonl < in.jsonl | jq -r .label
    """
    if all and labels_only:
        raise OptionError("all and labels_only", "exclude each other", "--all")
    if all and abstention.threshold and not lines.objects_out:
        raise OptionError("all", "writes every label, but --threshold chooses one", "--json --all, for both")
    source = lines.find("nlpseq classify", quiet=quiet)
    keep_freed_memory()
    classifier = TextClassifier.load(chosen_model(model, CLASSIFIER, quiet=quiet), device)
    abstention.check_labels(classifier.labels)
    shown = _Shown(all, labels_only, abstention)
    answer, names = classifier.classify_lines, shown.as_fields(None)
    answers = Answers(answer, shown.as_line, shown.as_fields, names, decision_status, classifier.by_workers)
    filter_texts(answers, source, lines, quiet=quiet, processes=lines.processes_on(device, 1))


@dataclass(frozen=True)
class _Shown:
    """A decision as a line or as fields, with as much as the flags ask for."""

    all: bool
    labels_only: bool
    abstention: AbstentionOptions

    def as_line(self, number: int, decision: Decision | None) -> str:
        if decision is None:
            return ""
        label = decision.decide(self.abstention)
        if self.labels_only:
            return label
        pairs = zip(decision.labels if self.all else [label], decision.probabilities, strict=False)
        return "\t".join(f"{name}\t{probability:.6f}" for name, probability in pairs)

    def as_fields(self, decision: Decision | None) -> dict[str, Any]:
        fields: dict[str, Any] = {"label": decision and decision.decide(self.abstention)}
        if not self.labels_only:
            fields["probability"] = decision and decision.probabilities[0]
        if self.all:
            fields["probabilities"] = decision.by_label() if decision else {}
        return fields
