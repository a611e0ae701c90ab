"""`nlpseq classify`: a text in, its label and the label's probability out."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.filters import Answers, filter_texts
from nlpseq.commands.flags import ClassifierPath, Device, Quiet, application, command
from nlpseq.commands.inputs import LineOptions
from nlpseq.commands.tables.decision_line import ShownDecision
from nlpseq.decoding.classification import AbstentionOptions, TextClassifier, decision_status
from nlpseq.tasks import CLASSIFIER

app = application("The label of each text.")

LabelsOnly = Annotated[bool, typer.Option("--labels-only", help="Write labels without their probabilities.")]
All = Annotated[bool, typer.Option("--all", help="Write all labels, the most probable first.")]
Top = Annotated[
    int | None, typer.Option("--top", metavar="N", min=1, help="Write the N most probable labels, however improbable.")
]


@command(app)
def classify(
    model: ClassifierPath = None,
    all: All = False,
    top: Top = None,
    labels_only: LabelsOnly = False,
    device: Device = "cpu",
    quiet: Quiet = False,
    *,
    lines: LineOptions,
    abstention: AbstentionOptions,
) -> None:
    """Write one line for each text or line of a file: its label, a tab, and the label's probability.

    With --all or --top the other labels and their probabilities follow, separated by tabs. If a text may have several
    labels, those that reach the threshold are written in this way; if none does, the line starts with a tab. Labels
    alone have commas between them. A line that is blank, too long or not an object gets a blank line. Probabilities are
    calibrated on the validation texts of training. In objects `status` is ok, in-part (only the first 100,000 tokens
    were read), blank, too-long, no-text, invalid-json or invalid-utf8. If your object already has a field `label`, it
    is kept as `given_label`, and so on.

    \b
      nlpseq classify "a dull film"
      nlpseq classify --labels-only reviews.txt | paste - reviews.txt
      nlpseq classify --threshold 0.9 --abstain ask-a-human < mails.txt
      nlpseq classify --jsonl < in.jsonl | jq -r .label
    """
    shown = ShownDecision(all, top, labels_only, abstention)
    shown.check(objects_out=lines.objects_out)
    source = lines.find("nlpseq classify", quiet=quiet)
    classifier = TextClassifier.load(chosen_model(model, CLASSIFIER, quiet=quiet), device)
    abstention.check_labels(classifier.labels, several=classifier.several)
    shown = replace(shown, several=classifier.several)
    answer, names = classifier.classify_lines, shown.as_fields(None)
    answers = Answers(answer, shown.as_line, shown.as_fields, names, decision_status, classifier.by_workers)
    filter_texts(answers, source, lines, quiet=quiet, processes=lines.processes_on(device, 1))
