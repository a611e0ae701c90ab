"""What `classify` writes about a text: a line, or the fields of an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nlpseq.decoding.classification import AbstentionOptions, Decision
from nlpseq.errors import OptionError
from nlpseq.text.tables.label_sets import comma_separated


@dataclass(frozen=True)
class ShownDecision:
    """A decision as a line or as fields, with as much as the flags ask for."""

    all: bool
    top: int | None  # the number of labels to show, whatever their probability
    labels_only: bool
    abstention: AbstentionOptions
    several: bool = False  # whether a text has any number of labels

    def check(self, *, objects_out: bool) -> None:
        """Raises OptionError for flags that do not go together."""
        if self.all and self.labels_only:
            raise OptionError("all and labels_only", "exclude each other", "--all")
        if self.all and self.top:
            raise OptionError("all and top", "exclude each other", f"--top {self.top}")
        for flag, writes in (("all", "every label"), ("top", "the most probable labels")):
            if getattr(self, flag) and self.abstention.threshold and not objects_out:
                given = "--all" if flag == "all" else f"--top {self.top}"
                raise OptionError(flag, f"writes {writes}, but --threshold chooses one", f"--json {given}, for both")

    def as_line(self, number: int, decision: Decision | None) -> str:
        """Pairs of a label and its probability, with tabs; or labels alone, with commas between several."""
        if decision is None:
            return ""
        labels = decision.labels[: self.top] if self.all or self.top else decision.choose(self.abstention)
        if self.labels_only:
            return comma_separated(labels) if self.several or self.top else labels[0]
        pairs = zip(labels or [""], decision.probabilities, strict=False)
        return "\t".join(f"{name}\t{probability:.6f}" for name, probability in pairs)

    def as_fields(self, decision: Decision | None) -> dict[str, Any]:
        """`label` and `probability`, or `labels`; `probabilities` of all labels, the first ones or those that apply."""
        if self.several:
            return self._set_as_fields(decision)
        fields: dict[str, Any] = {"label": decision and decision.decide(self.abstention)}
        if not self.labels_only:
            fields["probability"] = decision and decision.probabilities[0]
        if self.all or self.top:
            fields["probabilities"] = decision.by_label(self.top) if decision else {}
        return fields

    def _set_as_fields(self, decision: Decision | None) -> dict[str, Any]:
        labels = decision.choose(self.abstention) if decision else []
        fields: dict[str, Any] = {"labels": labels}
        if not self.labels_only or self.top:
            most = self.top if self.all or self.top else len(labels)
            fields["probabilities"] = decision.by_label(most) if decision else {}
        return fields
