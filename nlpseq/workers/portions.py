"""Portions that are divided among worker processes and put together again, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from nlpseq.workers.pool import PAUSE, in_order

Join = Callable[[list[Any]], Any]  # from the results of a portion's items, in their order, to the portion's result


def portions_in_order(
    function: str,
    settings: Any,
    portions: Iterable[Any],
    divide: Callable[[Any], tuple[Iterable[Any], Join]],
    processes: int,
) -> Generator[Any, None, None]:
    """The results of portions, in their order; the other arguments, and PAUSE, are as for `in_order`.

    `divide` returns the items of a portion, at least one, and the function that joins their results.
    """
    waiting: deque[tuple[int, Join]] = deque()  # the number of a portion's items, and how they are joined

    def items() -> Iterator[Any]:
        for portion in portions:
            if portion is PAUSE:
                yield PAUSE
                continue
            parts, join = divide(portion)
            own = list(parts)
            waiting.append((len(own), join))
            yield from own

    done: list[Any] = []
    with closing(in_order(function, settings, items(), processes)) as results:
        for result in results:
            done.append(result)
            if len(done) == waiting[0][0]:
                _, join = waiting.popleft()
                yield join(done)
                done = []
