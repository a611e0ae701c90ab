"""Token streams: what was written is what is read, wherever the slices fall."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nlpseq.errors import CorpusError
from nlpseq.text import stream as stream_module
from nlpseq.text.stream import PIECE, TokenStream, token_type, write_stream


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.lists(st.integers(0, 299), max_size=20), max_size=8),
    piece_tokens=st.integers(1, 9),
    ends=st.lists(st.tuples(st.integers(-90, 90), st.integers(-90, 90)), min_size=5, max_size=5),
)
def test_slices_are_those_of_a_plain_list(
    tmp_path: Path, pieces: list[list[int]], piece_tokens: int, ends: list[tuple[int, int]]
) -> None:
    plain = [token for piece in pieces for token in piece]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "PIECE", piece_tokens)
        written = write_stream(tmp_path / "tokens.arrow", (np.array(piece, np.int32) for piece in pieces), 300)
        for stream in (written, TokenStream.from_array(np.array(plain, np.uint16))):
            assert len(stream) == len(plain)
            for start, stop in [(0, len(plain)), *ends]:
                assert stream[start:stop].tolist() == plain[start:stop]
            assert stream.sha256 == hashlib.sha256(np.array(plain, "<u4").tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (1, "uint8"),
        (256, "uint8"),
        (257, "uint16"),
        (65_536, "uint16"),
        (65_537, "uint32"),
        (250_000, "uint32"),
    ],
)
def test_the_type_is_the_smallest_that_fits(tmp_path: Path, size: int, kind: str) -> None:
    assert token_type(size) == np.dtype(kind)
    stream = write_stream(tmp_path / "tokens.arrow", [np.array([0, size - 1], np.int64)], size)
    assert stream.dtype == stream[:].dtype == np.dtype(kind)
    assert stream[:].tolist() == [0, size - 1]


def test_a_slice_within_a_piece_copies_nothing(tmp_path: Path) -> None:
    stream = write_stream(tmp_path / "tokens.arrow", [np.arange(1000)], 1000)
    assert np.shares_memory(stream[100:900], stream[0:500])
    assert not stream[100:900].flags.writeable


def _peak_of_reading(path: Path, tokens: int, slices: str) -> float:
    """Megabytes that the peak memory of a process grows by when it reads a stream of `tokens` tokens in slices."""
    program = (
        "import sys\n"
        "from nlpseq.text.stream import TokenStream\n"
        "def peak():\n"
        "    lines = open('/proc/self/status')\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 1000\n"
        "before, stream = peak(), TokenStream(sys.argv[1])\n"
        f"assert sum(len(stream[start:stop]) for start, stop in {slices}) >= {tokens}\n"
        "assert stream.sha256\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stream_that_is_read_to_its_end_takes_little_memory(tmp_path: Path) -> None:
    tokens = 120 * PIECE  # bytes, too
    write_stream(tmp_path / "tokens.arrow", (np.full(PIECE, number) for number in range(120)), 256)
    in_order = f"((start, start + 6400) for start in range(0, {tokens}, 6400))"
    length = tokens // 64
    starts = f"s * {length} + t for t in range(0, {length}, 9000) for s in range(64)"
    side_by_side = f"((start, start + 9000) for start in ({starts}))"
    for slices in (in_order, side_by_side):
        assert _peak_of_reading(tmp_path / "tokens.arrow", tokens, slices) < 70, "with the library that reads it"


def test_a_view_outlives_the_release_of_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MAPPED", 0)
    stream = write_stream(tmp_path / "tokens.arrow", [np.arange(100_000) % 251], 251)
    view, path = stream[10:20], tmp_path / "tokens.arrow"
    path.unlink()
    assert stream[90_000:].sum() == (np.arange(90_000, 100_000) % 251).sum()
    assert view.tolist() == list(range(10, 20))


def test_pieces_on_disk_are_even(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PIECE", 10)
    stream = write_stream(tmp_path / "tokens.arrow", [np.arange(3), np.arange(25), np.arange(4)], 100)
    assert stream.piece_lengths == [10, 10, 10, 2]


def test_the_hash_does_not_depend_on_the_type(tmp_path: Path) -> None:
    tokens = np.arange(200)
    hashes = {write_stream(tmp_path / f"{size}", [tokens], size).sha256 for size in (200, 300, 70_000)}
    assert hashes == {TokenStream.from_array(tokens).sha256}


def test_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="in steps of 1, not 2"):
        TokenStream.from_array(np.arange(5))[::2]


def test_an_id_that_does_not_fit_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    for wrong in (300, -1):
        with pytest.raises(ValueError, match=r"an id outside 0\.\.299"):
            write_stream(tmp_path / "tokens.arrow", [np.array([1, wrong])], 300)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[NDArray[Any]]:
        yield np.arange(10)
        raise CorpusError("corpus.txt", "it is not UTF-8")

    path = tmp_path / "tokens.arrow"
    write_stream(path, [np.array([1, 2, 3])], 300)
    with pytest.raises(CorpusError, match=r"corpus\.txt"):
        write_stream(path, pieces(), 300)
    assert TokenStream(path)[:].tolist() == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [path]


def test_a_mapped_file_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens.arrow"
    old = write_stream(path, [np.array([1, 2, 3])], 300)
    new = write_stream(path, [np.array([4])], 300)
    assert (old[:].tolist(), new[:].tolist()) == ([1, 2, 3], [4])


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="it cannot be written"):
        write_stream(tmp_path / "file" / "tokens.arrow", [np.arange(3)], 300)


def test_what_is_no_stream_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.arrow"
    with pytest.raises(CorpusError, match="there is no such token stream"):
        TokenStream(path)
    for data in (b"", b"text", b"some text that is longer than the mark at the end\n" * 9):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match="this is not a token stream"):
            TokenStream(path)
    with pytest.raises(CorpusError, match="not a token stream"):
        TokenStream(tmp_path)


def test_a_stream_cut_short_anywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PIECE", 100)
    path = tmp_path / "tokens.arrow"
    write_stream(path, [np.arange(1000) % 250], 250)
    whole = path.read_bytes()
    for end in range(1, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(CorpusError, match="token stream"):
            TokenStream(path)


def test_another_arrow_file_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"text": ["a", "b"]})
    with (
        pyarrow.OSFile(str(tmp_path / "other"), "wb") as file,
        pyarrow.ipc.new_stream(file, table.schema) as writer,
    ):
        writer.write_table(table)
    with pytest.raises(CorpusError, match="this is not a token stream"):
        TokenStream(tmp_path / "other")


def test_a_column_of_other_numbers_or_with_gaps_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    columns = (pyarrow.array([1, -2], pyarrow.int64()), pyarrow.array([1, None], pyarrow.uint8()))
    for place, column in enumerate(columns):
        _write_arrow(tmp_path / str(place), pyarrow.table({"token": column}))
        with pytest.raises(CorpusError, match="this is not a token stream: its column holds"):
            TokenStream(tmp_path / str(place))


def test_a_file_that_another_writer_made_of_the_same_column_is_read(tmp_path: Path) -> None:
    """As files were written by the library `datasets`: with metadata, and rows in pieces of any length."""
    pyarrow = pytest.importorskip("pyarrow")
    features = b'{"info": {"features": {"token": {"dtype": "uint16", "_type": "Value"}}}}'
    table = pyarrow.table({"token": np.arange(700, dtype=np.uint16)}).replace_schema_metadata(
        {b"huggingface": features}
    )
    _write_arrow(tmp_path / "tokens.arrow", table, rows=300)
    stream = TokenStream(tmp_path / "tokens.arrow")
    assert stream[:].tolist() == list(range(700))
    assert stream.piece_lengths == [300, 300, 100]


def _write_arrow(path: Path, table: Any, rows: int | None = None) -> None:
    import pyarrow

    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, rows)


def test_streams_are_written_and_read_without_heavy_libraries(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from nlpseq.text.stream import write_stream\n"
        "assert write_stream(sys.argv[1], [np.arange(300)], 300)[:].sum() == 44850\n"
        "print(*[name for name in ('datasets', 'pandas', 'torch') if name in sys.modules])"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "tokens.arrow")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
