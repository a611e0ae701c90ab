"""Reading corpora: the text is what a naive reader would see, and each fault is one sentence."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text import compression
from nlpseq.text.compression import PIECE_BYTES, read_blocks
from nlpseq.text.encodings import likely_encoding
from nlpseq.text.formats import need_source, open_corpus, read_text, split_lines
from nlpseq.text.readers.rows import open_table
from nlpseq.text.splits import CorpusSpan, measure

DATA = (Path(__file__).parents[2] / "../shared/data").resolve()
ROOT = Path(__file__).parents[2]

CONTENTS = st.lists(
    st.sampled_from(["\n", "\r\n", "\r", " ", "\ufeff", "\u2028", "\u0085", "é", "猫", "\U0001f408", "word"])
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4),
    max_size=40,
).map("".join)


def zstd(data: bytes) -> bytes:
    """Data compressed by zstd."""
    packed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return bytes(packed.getvalue())


def naive(data: bytes) -> str:
    """What `read_text` should give, in one go."""
    text = data.decode("utf-8").removeprefix("\ufeff")
    first, newline, _ = text.partition("\n")
    return text.replace("\r\n", "\n") if newline and first.endswith("\r") else text


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".txt", bytes),
        (".gz", gzip.compress),
        (".XZ", lzma.compress),
        ("", bytes),
        (".zst", zstd),
        (".bz2", bz2.compress),
    ],
)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=CONTENTS, piece_bytes=st.integers(4, 30))
def test_pieces_join_to_what_a_naive_reader_sees(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], contents: str, piece_bytes: int
) -> None:
    data = contents.encode()
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(pack(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "PIECE_BYTES", piece_bytes)
        if not naive(data):
            with pytest.raises(CorpusError, match="it is empty"):
                list(read_text(path))
            return
        pieces = list(read_text(path))
    assert "".join(pieces) == naive(data)
    assert all(0 < len(piece.encode()) <= 4 * piece_bytes for piece in pieces)


def test_pieces_end_where_lines_end(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a line of some length\n" * 150_000)
    pieces = list(read_text(path))
    assert len(pieces) > 2
    assert all(piece.endswith("\n") for piece in pieces)


def test_long_lines_are_cut_before_a_space(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("word " * 500_000)
    pieces = list(read_text(path))
    assert len(pieces) > 1
    assert all(piece.startswith(" word") for piece in pieces[1:])


@settings(deadline=None, max_examples=60)
@given(pieces=st.lists(st.text("ab\n\r\u2028", max_size=5), max_size=8))
def test_lines_do_not_depend_on_the_pieces(pieces: list[str]) -> None:
    *lines, last = "".join(pieces).split("\n")
    assert list(split_lines(pieces)) == ([*lines, last] if last else lines)


def test_memory_stays_constant(tmp_path: Path) -> None:
    path = tmp_path / "corpus.gz"
    path.write_bytes(gzip.compress(b"a line of some length, again and again\n" * 800_000, 1))
    tracemalloc.start()
    characters = sum(len(piece) for piece in read_text(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert characters == 800_000 * 39
    assert peak < 10 * PIECE_BYTES


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"one\r\ntwo\rthree\nfour\r\n", "one\ntwo\rthree\nfour\n"),
        (b"one\ntwo\r\n", "one\ntwo\r\n"),
        (b"one\rtwo\r", "one\rtwo\r"),
        (b"\xef\xbb\xbfone", "one"),
        (b"\xef\xbb\xbf\xef\xbb\xbfone", "\ufeffone"),
        (b"abc", "abc"),
        (b"\n", "\n"),
    ],
)
def test_line_ends_and_marks(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    assert "".join(read_text(path)) == text


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"corpus\.txt: it is empty"):
        list(read_text(path))


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (
            "caf\u00e9 d'\u00e9t\u00e9\n".encode("latin-1"),
            "t:1: it is not UTF-8: byte 0xE9 at offset 3",
            "WINDOWS-1252",
        ),
        (
            "ok\n你好世界\n".encode("gb18030"),
            "t:2: it is not UTF-8: byte 0xC4 at offset 3",
            "-f GB18030 -t UTF-8",
        ),
        (
            "grüße\n".encode() * 9 + b"\xff\n",
            "t:10: it is not UTF-8: byte 0xFF at offset 72",
            "iconv -c -f UTF-8",
        ),
        (b"cut \xe7\x8c", "t:1: it is not UTF-8: byte 0xE7 at offset 4 (unexpected end of data)", "iconv"),
        ("hello\n".encode("utf-16"), "this is UTF-16, a corpus is UTF-8", "iconv -f UTF-16 -t UTF-8"),
        ("hello\n".encode("utf-32"), "this is UTF-32, a corpus is UTF-8", "iconv -f UTF-32 -t UTF-8"),
        ("hello\n".encode("utf-16-le"), "t:1: it is binary: a NUL byte at offset 1", "UTF-16LE"),
        ("hello\n".encode("utf-16-be"), "t:1: it is binary: a NUL byte at offset 0", "UTF-16BE"),
        (
            b"a\nb\0c" + b"text " * 9,
            "t:2: it is binary: a NUL byte at offset 3",
            "if it is a text: tr -d '\\000' < ",
        ),
        (b"\x28\xb5\x2f\xfd\xff", "this is zstd-compressed, a corpus is text", "ends in .zst"),
        (gzip.compress(b"text", mtime=0), "this is gzip-compressed, a corpus is text", "ends in .gz"),
        (lzma.compress(b"text"), "this is xz-compressed, a corpus is text", "ends in .xz"),
        (b"PK\3\4\0\0", "this is a zip archive", "unzip"),
    ],
)
def test_what_is_not_utf8_text_is_refused_with_a_remedy(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=re.escape(message)) as caught:
        list(read_text(path))
    assert hint in caught.value.hint


def test_the_place_of_a_bad_byte_counts_all_pieces_and_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"\xef\xbb\xbf" + b"line\n" * 500_000 + b"bad \xff\n")
    with pytest.raises(CorpusError, match=r"t:500001: it is not UTF-8: byte 0xFF at offset 2500007"):
        list(read_text(path))


def test_the_remedy_quotes_the_name_and_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "my file.txt.gz"
    path.write_bytes(gzip.compress("café".encode("latin-1")))
    with pytest.raises(CorpusError) as caught:
        list(read_text(path))
    assert f"gzip -dc '{path}' | iconv -f WINDOWS-1252 -t UTF-8 > 'my file.utf8.txt'" in caught.value.hint


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstd), (".bz2", bz2.compress)]
)
def test_damaged_compression_is_refused(suffix: str, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / f"corpus{suffix}"
    whole = pack(os.urandom(5000).hex().encode())
    changed = () if suffix == ".zst" else (whole[:400] + b"????" + whole[404:],)  # pyarrow writes no checksum
    for data in (whole[:-6], whole[: len(whole) // 2], b"plain text", *changed):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match="its compressed data is damaged"):
            list(read_text(path))


def test_a_folder_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="this is a folder") as caught:
        read_text(tmp_path)
    assert caught.value.hint == f"name its files: {tmp_path}/*"


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "reviews.txt").write_text("x")
    with pytest.raises(CorpusError, match="there is no such file") as caught:
        open_corpus(str(tmp_path / "review.txt"))
    assert caught.value.hint == f"did you mean {tmp_path / 'reviews.txt'}?"


def test_a_misspelt_bundled_name_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError) as caught:
        open_corpus("storys")
    assert caught.value.hint == "did you mean the bundled corpus stories?"
    with pytest.raises(CorpusError) as caught:
        open_corpus("qqq")
    assert "bundled corpora: stories, english-german, reviews, python-docs" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("http://a.org/b.txt", "curl -LO http://a.org/b.txt, and name b.txt instead"),
        ("ftp://a.org/b/*.txt", "curl -LO 'ftp://a.org/b/*.txt', and name *.txt instead"),
        ("https://a.org", "curl -L https://a.org -o page.html, and name page.html instead"),
        ("https://huggingface.co/datasets/a/b", "hf:a/b"),
    ],
)
def test_a_web_address_is_refused(name: str, hint: str) -> None:
    for read in (open_corpus, need_source):
        with pytest.raises(CorpusError, match="it is a web address, and must be a file") as caught:
            read(name)
        assert caught.value.hint == hint


def test_standard_input_is_no_table() -> None:
    with pytest.raises(CorpusError, match="standard input is for language models only"):
        open_table("-")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "there is no such file"),
        ("a\0b", "it cannot be the name of a file"),
        ("x" * 5000, "it cannot be looked at: File name too long"),
        ("no/such/folder/file", "there is no such file"),
    ],
    ids=["empty", "nul", "long", "nothing"],
)
def test_names_that_cannot_be_files_are_refused(name: str, what: str) -> None:
    with pytest.raises(CorpusError, match=what):
        open_corpus(name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("secret")
    path.chmod(0)
    with pytest.raises(CorpusError, match="it cannot be read: Permission denied"):
        list(read_text(path))


def test_a_failing_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("text")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusError, match="it cannot be read: Permission denied"):
        list(read_text(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = subprocess.Popen(["sh", "-c", "printf 'one\\ntwo' > \"$1\"", "sh", str(path)])
    assert "".join(open_corpus(str(path))) == "one\ntwo"
    assert writer.wait() == 0


def test_a_file_goes_before_a_bundled_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python-docs").mkdir()
    assert len("".join(open_corpus("python-docs"))) > 1000
    (tmp_path / "python-docs").rmdir()
    (tmp_path / "python-docs").write_text("mine")
    assert "".join(open_corpus("python-docs")) == "mine"


@pytest.mark.skipif(not (DATA / "robustness").is_dir(), reason="shared/data/robustness is not there")
def test_robustness_files_are_read_or_refused() -> None:
    for path in sorted((DATA / "robustness").rglob("*.*")):
        data = path.read_bytes()
        try:
            expected = naive(data)
        except UnicodeDecodeError:
            expected = ""
        if not expected or "\0" in expected:
            with pytest.raises(CorpusError) as caught:
                list(read_text(path))
            assert "\n" not in str(caught.value)
        else:
            assert "".join(read_text(path)) == expected


def test_blocks_are_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "corpus.gz"
    path.write_bytes(gzip.compress(b"\xff\0\r\n"))
    assert b"".join(read_blocks(path)) == b"\xff\0\r\n"


def test_likely_encodings() -> None:
    assert likely_encoding("naïve café".encode("cp1252")) == "WINDOWS-1252"
    assert likely_encoding("天地玄黄宇宙洪荒".encode("gb18030")) == "GB18030"
    assert likely_encoding("schöne Grüße, ".encode() * 3 + b"\xff") == "UTF-8"


class Hub:
    """Stands in for `datasets.load_dataset`."""

    def __init__(self, rows: list[dict[str, Any]], error: Exception | None = None) -> None:
        self.rows, self.error = rows, error
        self.asked: tuple[Any, ...] = ()

    features = None  # as of a data set that is streamed and says nothing of its columns

    def __call__(self, *arguments: Any, **options: Any) -> Hub:
        self.asked = (*arguments, options)
        if self.error and not self.rows:
            raise self.error
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self.rows
        if self.error:
            raise self.error


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    def install(rows: list[dict[str, Any]], error: Exception | None = None) -> Hub:
        datasets = pytest.importorskip("datasets")
        stand_in = Hub(rows, error)
        monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=lambda *_, **__: None))
        monkeypatch.setattr(datasets, "load_dataset", stand_in)
        return stand_in

    return install


def test_a_hub_data_set_is_its_text_column(hub: Callable[..., Hub]) -> None:
    asked = hub([{"text": "one", "label": 1}, {"text": "two\n"}, {"text": None}, {"text": ""}])
    assert "".join(open_corpus("hf:someone/some-set")) == "one\ntwo\n\n\n"
    assert asked.asked == ("someone/some-set", None, {"split": "train", "streaming": True})
    list(open_corpus("hf:someone/some-set:part"))
    assert asked.asked[1] == "part"


def test_a_large_hub_data_set_comes_in_pieces(hub: Callable[..., Hub]) -> None:
    hub([{"text": "x" * 999}] * 3000)
    pieces = list(open_corpus("hf:large"))
    assert len(pieces) == 3
    assert "".join(pieces) == ("x" * 999 + "\n") * 3000


def hub_errors() -> list[tuple[Exception, str]]:
    exceptions = pytest.importorskip("datasets.exceptions")
    return [
        (exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist on the Hub"), "huggingface.co/datasets"),
        (exceptions.DatasetGenerationError("damaged shard"), "export its text"),
        (ConnectionError("Couldn't reach 'x' on the Hub"), "check the network"),
        (ValueError("Config name is missing.\nPlease pick one: ['a', 'b']"), "hf:x:CONFIG"),
        (KeyError("train"), "export its text"),
        (RuntimeError("Dataset scripts are no longer supported"), "export its text"),
        (ModuleNotFoundError("No module named 'soundfile'"), "export its text"),
    ]


@pytest.mark.parametrize("rows", [[], [{"text": "before"}]], ids=["at once", "while reading"])
def test_failures_of_the_hub_are_one_sentence_with_a_hint(hub: Callable[..., Hub], rows: list[dict[str, Any]]) -> None:
    for error, hint in hub_errors():
        hub(rows, error)
        with pytest.raises(CorpusError, match="hf:x: the hub's data set cannot be read") as caught:
            list(open_corpus("hf:x"))
        assert hint in caught.value.hint
        assert "\n" not in str(caught.value)


def test_a_hub_data_set_without_text_lists_its_columns(hub: Callable[..., Hub]) -> None:
    hub([{"sentence": "one", "label": 1}])
    with pytest.raises(CorpusError, match="it has no column `text`, only sentence, label"):
        list(open_corpus("hf:x"))
    hub([{"text": ["a", "list"]}])
    with pytest.raises(CorpusError, match="its column `text` holds list, not text"):
        list(open_corpus("hf:x"))
    hub([])
    with pytest.raises(CorpusError, match="its train split has no rows"):
        list(open_corpus("hf:x"))


def test_nothing_heavy_is_imported_until_it_is_used() -> None:
    modules = ["tokenisers", "formats", "stream", "lines", "checks.corpus", "readers.rows", "tables.parallel"]
    heavy = ["torch", "datasets", "pyarrow", "rich", "sentencepiece"]
    imports = "; ".join(f"import nlpseq.text.{module}" for module in modules)
    program = f"import sys; {imports}; print([name for name in {heavy} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("text", ["\n\n\n", " \n\t\n\u2003"])
def test_a_corpus_of_blank_lines_is_not_measured(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match="it has no text to learn, only blank lines"):
        measure(CorpusSpan((str(tmp_path / "a.txt"),)))
    (tmp_path / "b.txt").write_text("b")
    assert measure(CorpusSpan((str(tmp_path / "a.txt"), str(tmp_path / "b.txt")))).characters == len(text) + 1


def test_an_unlike_name_is_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "tiny.txt").write_text("text")
    (tmp_path / "reviews.tsv").write_text("text")
    with pytest.raises(CorpusError) as caught:
        need_source(str(tmp_path / "nope.txt"))
    assert "did you mean" not in caught.value.hint
    with pytest.raises(CorpusError) as caught:
        need_source(str(tmp_path / "review.txt"))
    assert caught.value.hint == f"did you mean {tmp_path / 'reviews.tsv'}?"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_and_a_device_cannot_be_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "my pipe"
    os.mkfifo(pipe)
    with pytest.raises(CorpusError, match="it is a pipe, but must be a file") as caught:
        need_source(str(pipe))
    assert caught.value.hint == f"cat '{pipe}' > FILE, and name FILE instead"
    with pytest.raises(CorpusError, match="it is a device, but must be a file"):
        need_source(os.devnull)
    with pytest.raises(CorpusError, match="this is a device, not a file"):
        read_blocks(os.devnull)


READ_HUB = """
import sys, time
from nlpseq.text.hub import hub_rows
started = time.perf_counter()
try:
    print([row["text"] for row in hub_rows("hf:someone/some-set")])
finally:
    print(time.perf_counter() - started, "datasets" in sys.modules)
"""


def read_hub(**settings: str) -> subprocess.CompletedProcess[str]:
    """Another process reads a data set of the hub, with these variables."""
    environment = os.environ | {"NO_PROXY": "*", "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)} | settings
    return subprocess.run([sys.executable, "-c", READ_HUB], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("listens", [False, True], ids=["closed", "silent"])
def test_without_a_network_the_hub_fails_at_once_and_in_one_sentence(listens: bool, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()  # and never answers
        done = read_hub(HF_ENDPOINT=f"http://127.0.0.1:{server.getsockname()[1]}", HF_HOME=str(tmp_path))
    last = done.stderr.splitlines()[-1]
    assert "CorpusError: hf:someone/some-set: the hub's data set cannot be read: http://127.0.0.1:" in last
    assert last.endswith(", and it has no copy on this machine")
    assert "Retrying" not in done.stderr
    seconds, imported = done.stdout.split()
    assert imported == "False" and float(seconds) < 10  # on an idle machine 0.3 and 1.6; a repeated try takes longer


@pytest.mark.slow
def test_a_copy_of_a_hub_data_set_is_read_without_a_network(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    writer = pytest.importorskip("datasets.arrow_writer")
    folder = tmp_path / "datasets" / "someone___some-set" / "default" / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    features = datasets.Features({"text": datasets.Value("string")})
    with writer.ArrowWriter(path=str(folder / "some-set-train.arrow"), features=features) as rows:
        for text in ("one", "two"):
            rows.write({"text": text})
        count, size = rows.finalize()
    split = {"name": "train", "num_bytes": size, "num_examples": count, "dataset_name": "some-set"}
    datasets.DatasetInfo(
        features=features,
        builder_name="parquet",
        dataset_name="some-set",
        config_name="default",
        version="0.0.0",
        splits=datasets.SplitDict.from_split_dict([split]),
    ).write_to_directory(str(folder))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for offline in ("0", "1"):
            done = read_hub(HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_HUB_OFFLINE=offline)
            assert done.stdout.startswith("['one', 'two']\n"), done.stderr
    done = read_hub(HF_HOME=str(tmp_path / "other"), HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set, and it has no copy on this machine" in done.stderr.splitlines()[-1]
