"""The parts of a training: one run, or with texts without labels a language model's and then a classifier's.

torch is not imported until a part is created.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from nlpseq.errors import OptionError
from nlpseq.tasks import CLASSIFIER, TASKS, Task
from nlpseq.text.progress import Watch, unwatched
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.run_folder import RunFolder

if TYPE_CHECKING:
    from nlpseq.training.requests import ClassifierRequest, Request


class Part(NamedTuple):
    """A run that is to be created, trained and finished before the next part is asked for."""

    title: str  # "" for the only one
    create: Callable[[], Any]


def training_parts(
    task: Task,
    request: Any,
    started: float | None = None,
    watch: Watch = unwatched,
    processes: Processes = ALONE,
) -> Generator[Part, None, None]:
    """The parts that a request takes, in the first of `processes`; `started` and `watch` are as for a run.

    Texts without labels are read before the first part is there. Raises OptionError for texts without labels in a run
    that was started without them, and what reading raises.
    """
    if task is CLASSIFIER:
        folder = RunFolder(request.out)
        if folder.unlabelled.exists() if request.resume else request.unlabelled:
            from nlpseq.training.pretraining.runs import Pretraining

            with closing(Pretraining(request, started, watch, processes).parts()) as both:
                yield from both
            return
        request = _without_unlabelled(request, folder)
        tell_followers(processes, task, request, is_last=True)
    yield Part("", lambda: task.load("run")(request, started, watch, processes))


def _without_unlabelled(request: ClassifierRequest, folder: RunFolder) -> ClassifierRequest:
    """A request without the texts of a language model that has been trained already."""
    names = ("unlabelled", "unlabelled_steps")
    if not request.given.intersection(names):
        return request
    known = folder.read_config().get("pretraining", {})
    if list(request.unlabelled) not in ([], known.get("unlabelled", [])):
        what = f"was {', '.join(known.get('unlabelled', [])) or 'left open'} when the run was started"
        raise OptionError("unlabelled", what, "leave out --unlabelled, or --out FOLDER")
    if request.unlabelled_steps not in (None, known.get("unlabelled_steps")):
        what = f"was {known.get('unlabelled_steps', 'left open')} when the run was started"
        raise OptionError("unlabelled_steps", what, "leave out --unlabelled-steps")
    return replace(request, unlabelled=(), unlabelled_steps=None, given=request.given.difference(names))


def tell_followers(processes: Processes, task: Task, request: Request, *, is_last: bool) -> None:
    """Tell the other processes which run of a classifier's training is created next; they wait for it in `followed`."""
    if processes.count > 1:
        processes.from_first((task.name, request, is_last))


def followed(task: Task, request: Request, processes: Processes) -> Iterator[tuple[Task, Request]]:
    """The task and the request of each part, in a process that is not the first."""
    if task is not CLASSIFIER:
        yield task, request
        return
    is_last = False
    while not is_last:
        nothing: Any = None
        name, request, is_last = processes.from_first(nothing)
        yield TASKS[name], request
