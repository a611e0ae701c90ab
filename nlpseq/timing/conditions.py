"""What a timing was taken on, in words: the machine, versions, and the kernels that ran."""

from __future__ import annotations

from nlpseq.kernels.machine import describe_machine
from nlpseq.native.extension import describe
from nlpseq.timing.plan import Plan


def layer_conditions(plan: Plan) -> list[str]:
    """Of recurrent layers: the machine, then each kernel that runs, and why."""
    reasons = dict.fromkeys(choice.reason for choice in plan.choices.values())
    return [describe_machine(plan.device), *reasons]


def running_conditions() -> list[str]:
    """Of a model that runs, or of the products in it: the machine, then what runs our side."""
    return [describe_machine(), f"ours: {describe()}"]
