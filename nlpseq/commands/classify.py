"""`nlpseq classify`: a line in, its label and how sure that is out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import SENTIMENT, Device, JsonLines, ModelPath, Quiet, application, command
from nlpseq.commands.output import Line
from nlpseq.decoding.classification import Decision, TextClassifier
from nlpseq.errors import OptionError
from nlpseq.native.memory import keep_freed_memory
from nlpseq.text.lines import OK, portions, read_batches, standard_input, write_lines

UNSURE = "unsure"
BLANK = "blank"

app = application("The label of each line of standard input.")

LabelsOnly = Annotated[bool, typer.Option("--labels-only", help="Write labels without their probabilities.")]
All = Annotated[bool, typer.Option("--all", help="Write all labels, the most probable first.")]
Threshold = Annotated[
    float, typer.Option("--threshold", metavar="X", help="Abstain where the best label is less probable than this.")
]
Abstain = Annotated[str, typer.Option("--abstain", metavar="LABEL", help="What is written where --threshold abstains.")]


@command(app)
def classify(
    model: ModelPath = SENTIMENT,
    all: All = False,
    labels_only: LabelsOnly = False,
    threshold: Threshold = 0.0,
    abstain: Abstain = UNSURE,
    device: Device = "cpu",
    jsonl: JsonLines = False,
    quiet: Quiet = False,
) -> None:
    """Write one line for each line of standard input: its label, a tab, and the label's probability.

    With --all the other labels and their probabilities follow, between tabs. A line that is blank, too long or no
    object stays blank. Probabilities are calibrated on the validation texts of training. Under `status` --jsonl says
    ok, in-part (only its first 100,000 tokens were read), blank, too-long, no-text, invalid-json or invalid-utf8; a
    field of yours that is named as one of ours is kept as given_label and so on.

    \b
      nlpseq classify < reviews.txt
      nlpseq classify --labels-only < reviews.txt | paste - reviews.txt | grep ^negative
      nlpseq classify --threshold 0.9 --abstain ask-a-human < mails.txt
      nlpseq classify --jsonl < in.jsonl | jq -r .label
    """
    if not 0 <= threshold <= 1:
        raise OptionError("--threshold", f"must be from 0 to 1, was {threshold:g}", "--threshold 0.8")
    if abstain != UNSURE and not threshold:
        raise OptionError("--abstain", "goes with --threshold", f"--threshold 0.8 --abstain {abstain}")
    if all and labels_only:
        raise OptionError("--all and --labels-only", "exclude each other", "--all")
    if all and threshold and not jsonl:
        raise OptionError("--all", "writes every label, and --threshold chooses", "--jsonl --all, for both")
    if not abstain.strip() or "\t" in abstain or "\n" in abstain:
        raise OptionError("--abstain", f"must be a word without tabs, was {abstain!r}", "--abstain unsure")
    keep_freed_memory()
    classifier = TextClassifier.load(model, device)
    if threshold and abstain in classifier.labels:
        other = next(one for one in (UNSURE, "abstained", "?") if one not in classifier.labels)
        raise OptionError("--abstain", f"must be no label of the model, was {abstain!r}", f"--abstain {other!r}")
    faults = output.LineFaults(quiet=quiet)

    def show(decision: Decision | None) -> str | None:
        if decision is None:
            return None
        return decision.labels[0] if decision.probabilities[0] >= threshold else abstain

    for some in (some for batch in read_batches(standard_input()) for some in portions(batch)):
        lines = [faults.read_plain(line, as_object=jsonl) for line in some]
        decided = list(_decisions(classifier, lines))
        lines = [_marked(line, one, faults) for line, one in zip(lines, decided, strict=True)]
        if jsonl:
            both = zip(lines, decided, strict=True)
            output.write_objects(_object(line, show(one), one, all=all, labels_only=labels_only) for line, one in both)
        else:
            write_lines(_spelled(show(one), one, all=all, labels_only=labels_only) for one in decided)
    faults.report()


def _decisions(classifier: TextClassifier, lines: Sequence[Line]) -> Iterator[Decision | None]:
    """What is said of each line; of one without text nothing."""
    made = iter(classifier.classify([line.text for line in lines if line.text is not None and line.text.strip()]))
    for line in lines:
        yield next(made) if line.text is not None and line.text.strip() else None


def _marked(line: Line, decision: Decision | None, faults: output.LineFaults) -> Line:
    """The line with what is to be said of it."""
    if decision is None:
        return line._replace(status=BLANK) if line.status == OK else line
    if decision.cut:
        faults.add(output.IN_PART)
        return line._replace(status=output.IN_PART)
    return line


def _spelled(label: str | None, decision: Decision | None, *, all: bool, labels_only: bool) -> bytes:
    if label is None or decision is None:
        return b""
    if labels_only:
        return label.encode()
    labels = decision.labels if all else [label]
    pairs = zip(labels, decision.probabilities, strict=False)
    return "\t".join(f"{one}\t{probability:.6f}" for one, probability in pairs).encode()


def _object(
    line: Line, label: str | None, decision: Decision | None, *, all: bool, labels_only: bool
) -> dict[str, object]:
    made: dict[str, object] = {"label": label}
    if not labels_only:
        made["probability"] = None if decision is None else decision.probabilities[0]
    if all:
        pairs = {} if decision is None else dict(zip(decision.labels, decision.probabilities, strict=True))
        made["probabilities"] = pairs
    return output.added(line.fields, {**made, "status": line.status})
