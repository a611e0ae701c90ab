"""What goes wrong on a GPU in a step, said in a sentence: its memory is too small, or the device is lost.

torch raises errors of many lines for both. After the first it is tried out which part of the batch fits, which takes as
long as a few steps. The run's folder stays as it was last saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from nlpseq.device import is_out_of_memory
from nlpseq.errors import RunError
from nlpseq.training.options import TrainingOptions

GIB = 1 << 30


class BatchTooLarge(Exception):
    """A batch does not fit the device's memory; of its `size` sequences about `fitting` do, 0 if not even one."""

    def __init__(self, size: int, fitting: int) -> None:
        super().__init__(size, fitting)
        self.size = size
        self.fitting = fitting


def largest_fitting(size: int, attempt: Callable[[int], None]) -> int:
    """The largest of size/2, size/4, .. for which `attempt` does not run out of memory; 0 if it always does."""
    while size > 1:
        size //= 2
        torch.cuda.empty_cache()
        try:
            attempt(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            continue
        return size
    return 0


@contextmanager
def explained(folder: Path, options: TrainingOptions) -> Iterator[None]:
    """Inside, errors of a device become a RunError about the run in `folder`."""
    try:
        yield
    except BatchTooLarge as error:
        what = f"a batch of {error.size:,} sequences does not fit the GPU's memory{_memory()}"
        if not error.fitting:
            raise RunError(str(folder), f"{what}, nor does a single one", "--overwrite --hidden-size 256") from error
        hint = f"--overwrite --batch-size {error.fitting}"
        if (tokens := getattr(options, "batch_tokens", None)) and options.batch_size is None:
            hint = f"--overwrite --batch-tokens {tokens * error.fitting // error.size}"
        raise RunError(str(folder), f"{what}; {error.fitting:,} do", hint) from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            what = f"the model and what it is trained on do not fit the GPU's memory{_memory()}"
            raise RunError(str(folder), what, "--device cpu, or see with nvidia-smi what else is on it") from error
        what = str(error).strip().splitlines()[0]
        if not isinstance(error, torch.AcceleratorError) and "CUDA" not in what:
            raise
        raise RunError(str(folder), f"the GPU failed: {what}", "nvidia-smi, and then --resume") from error


def _memory() -> str:
    if not torch.cuda.is_available():
        return ""
    free, whole = torch.cuda.mem_get_info()
    return f" ({whole / GIB:.1f} GiB, {free / GIB:.1f} of them free)"
