"""GPU errors in a training step as one clear sentence: the memory is too small, or the device failed.

torch raises errors of many lines for both. If the memory is too small, smaller and smaller batches are tried until one
fits, which takes as long as a few steps. The run folder stays as it was last saved.
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
    """A batch of `size` sequences does not fit the device's memory; one of `fitting` does, 0 if not even one does."""

    def __init__(self, size: int, fitting: int) -> None:
        super().__init__(size, fitting)
        self.size = size
        self.fitting = fitting


def largest_fitting(size: int, attempt: Callable[[int], None]) -> int:
    """The largest of size/2, size/4, .. with which `attempt` does not run out of memory; 0 if there is no such size."""
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
    """Inside, device errors are raised as a RunError about the run in `folder`."""
    try:
        yield
    except BatchTooLarge as error:
        what = f"a batch of {error.size:,} sequences does not fit the GPU's memory{_memory()}"
        if not error.fitting:
            raise RunError(
                str(folder), f"{what}, nor does a single sequence", "--overwrite --hidden-size 256"
            ) from error
        hint = f"--overwrite --batch-size {error.fitting}"
        if (tokens := getattr(options, "batch_tokens", None)) and options.batch_size is None:
            hint = f"--overwrite --batch-tokens {tokens * error.fitting // error.size}"
        raise RunError(str(folder), f"{what}; {error.fitting:,} sequences fit", hint) from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            what = f"the model and its training data do not fit the GPU's memory{_memory()}"
            raise RunError(
                str(folder), what, "--device cpu, or free the GPU: nvidia-smi lists what runs on it"
            ) from error
        what = str(error).strip().splitlines()[0]
        if not isinstance(error, torch.AcceleratorError) and "CUDA" not in what:
            raise
        raise RunError(str(folder), f"the GPU failed: {what}", "nvidia-smi, and then --resume") from error


def _memory() -> str:
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    return f" ({total / GIB:.1f} GiB, {free / GIB:.1f} free)"
