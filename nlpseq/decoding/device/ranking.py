"""The likeliest continuations of a beam, as tensors of fixed shapes.

The vocabulary is divided into chunks, as on the host. Only the chunks with the largest maxima are searched, so that
about the square root of the vocabulary is sorted for each hypothesis. Ties go to the lowest index, which torch's top-k
does not guarantee. So both sorts are stable, at the cost of sorting more than is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NEVER = float("-inf")
MULTIPLE = 64  # a vocabulary is padded to a multiple of this


def chunk_size(vocabulary: int) -> int:
    """The number of tokens in a chunk: a power of two that divides the vocabulary, at most its square root."""
    chunk = 1
    while 4 * chunk * chunk <= vocabulary and vocabulary % (2 * chunk) == 0:
        chunk *= 2
    return chunk


def likeliest(
    values: Tensor,  # [B * K, V], log-probabilities of the next token
    totals: Tensor,  # [B, K], float64, -inf in an empty slot
    full: Tensor,  # [B], True for texts that must end
    end: int,
    count: int,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` likeliest texts [B, count], best first: log-probabilities, hypotheses and last tokens."""
    import torch

    texts, width = totals.shape
    chunk = chunk or chunk_size(values.shape[1])
    chunks = values.shape[1] // chunk
    grouped = values.view(texts, width, chunks, chunk)
    numbers = torch.arange(chunks, device=values.device)
    maxima = grouped.amax(-1)
    ends = torch.where(numbers == end // chunk, grouped[:, :, end // chunk, end % chunk, None], NEVER)
    maxima = torch.where(full[:, None, None], ends, maxima)
    chosen = _largest(_added(maxima, totals[:, :, None]).flatten(1), count).sort(1).values
    parents, within = chosen // chunks, chosen % chunks
    rows = torch.arange(texts, device=values.device)[:, None]
    tokens = within[:, :, None] * chunk + torch.arange(chunk, device=values.device)
    allowed = torch.where(full[:, None, None] & (tokens != end), NEVER, grouped[rows, parents, within])
    summed = _added(allowed, totals.gather(1, parents)[:, :, None]).flatten(1)
    chosen = _largest(summed, min(count, values.shape[1] * width))
    return summed.gather(1, chosen), parents.gather(1, chosen // chunk), tokens.flatten(1).gather(1, chosen)


def _added(values: Tensor, totals: Tensor) -> Tensor:
    """Sums as float64; an empty slot stays empty, whatever its values."""
    import torch

    return torch.where(totals == NEVER, NEVER, values.double() + totals)


def _largest(values: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest values of each row [B, N], the largest first."""
    return values.sort(dim=1, descending=True, stable=True).indices[:, :count]
