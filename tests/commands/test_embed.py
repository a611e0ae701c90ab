"""`nlpseq embed` and `nlpseq nearest`: what they write, in each form, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import nlpseq as package
from nlpseq.models.model_path import NAME

Run = Callable[..., Result]
LINES = ["the cat sat on the mat", "the dog sat on the log", "", "où es-tu?", "the cat sat on the log"]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of LINES."""
    (tmp_path / "lines.txt").write_text("".join(line + "\n" for line in LINES), encoding="utf-8")
    return tmp_path / "lines.txt"


def _rows(model: Path, **options: bool) -> np.ndarray:
    return package.load(model).embed(LINES, **options)


def test_each_line_has_a_vector_and_a_blank_one_null(nlpseq: Run, model_path: Path, lines: Path) -> None:
    done = nlpseq("embed", "-m", model_path, lines)
    found = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert found[2] is None
    for vector, row in zip(found, _rows(model_path), strict=True):
        assert np.array_equal(row, np.zeros(16) if vector is None else np.array(vector, np.float32))
    one = nlpseq("embed", "-m", model_path, LINES[0]).stdout
    assert one == done.stdout.split("\n")[0] + "\n"
    assert max(map(len, one.split())) <= len("[-0.123456789e-05,")


def test_vectors_are_written_to_one_array(nlpseq: Run, model_path: Path, lines: Path) -> None:
    done = nlpseq("embed", "-m", model_path, "--normalise", "--output", "vectors.npy", lines)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "note: vectors.npy has 5 vectors of 16 values\n"
    found = np.load("vectors.npy")
    assert found.dtype == np.float32 and np.array_equal(found, _rows(model_path, normalise=True))
    assert [path.name for path in Path().iterdir()] == ["vectors.npy"]
    assert nlpseq("embed", "-q", "-m", model_path, "--output", "none.npy", input=b"").stderr == ""
    assert np.load("none.npy").shape == (0, 16)


def test_objects_get_a_vector_and_a_status(nlpseq: Run, model_path: Path) -> None:
    data = b'{"text": "the cat", "vector": 1}\n{"text": " "}\n[]\n{"text": "\xff"}\n'
    done = nlpseq("embed", "-m", model_path, "--jsonl", input=data)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [fields["status"] for fields in found] == ["ok", "blank", "invalid-json", "invalid-utf8"]
    assert [fields["vector"] is None for fields in found] == [False, True, True, False]
    assert found[0]["given_vector"] == 1 and len(found[0]["vector"]) == 16


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--output", "a.npy", "--json"), 2, "error: --output and --json: exclude each other"),
        (("--output", "a.txt"), 2, "error: --output: must be a name that ends in .npy, was 'a.txt'\n"),
        (("--output", "gone/a.npy"), 1, "error: gone/a.npy: cannot be written: No such file or directory\n"),
        (("--pooling", "sum"), 2, "error: --pooling: "),
    ],
)
def test_what_embed_cannot_do_is_told(
    nlpseq: Run, model_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = nlpseq("embed", "-m", model_path, *arguments, input=b"a\n")
    assert (done.exit_code, done.stdout) == (status, "")
    assert done.stderr.startswith(said)


def test_a_file_stays_as_it_was_if_reading_ends_early(nlpseq: Run, model_path: Path) -> None:
    Path("a.npy").write_bytes(b"old")
    Path("b.txt.gz").write_bytes(b"\x1f\x8bno")
    assert nlpseq("embed", "-m", model_path, "--output", "a.npy", "b.txt.gz").exit_code == 1
    assert Path("a.npy").read_bytes() == b"old"
    assert sorted(path.name for path in Path().iterdir()) == ["a.npy", "b.txt.gz"]


@pytest.mark.parametrize("trained", ["checkpoints/sentiment", "checkpoints/lm", ""])
def test_without_a_model_what_was_trained_here_is_taken(nlpseq: Run, model_path: Path, trained: str) -> None:
    if trained:
        Path(trained).mkdir(parents=True)
        (Path(trained) / NAME).write_bytes(model_path.read_bytes())
    for arguments in (("embed",), ("nearest", "--in", "-")):
        done = nlpseq(*arguments, "a", input=b"b\n")
        assert done.exit_code == 0
        assert done.stderr.startswith(
            f"note: the model is {trained}\n" if trained else "note: no model in checkpoints/sentiment yet"
        )


def _expected(model: Path, text: str, top: int) -> list[tuple[str, str]]:
    loaded = package.load(model)
    return [(f"{each.similarity:.6f}", each.line) for each in loaded.nearest(text, LINES, top)]


def test_the_nearest_lines_come_first(nlpseq: Run, model_path: Path, lines: Path) -> None:
    done = nlpseq("nearest", "-m", model_path, LINES[1], "--in", lines, "--top", 2)
    found = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    assert (done.exit_code, done.stderr) == (0, "")
    assert found == _expected(model_path, LINES[1], 2)
    assert found[0] == ("1.000000", LINES[1])
    every = nlpseq("nearest", "-m", model_path, LINES[1], "--in", "-", input=lines.read_bytes())
    assert len(every.stdout.splitlines()) == 4, "a blank line was found"
    assert every.stdout.startswith(done.stdout)


def test_several_texts_have_their_numbers(nlpseq: Run, model_path: Path, lines: Path) -> None:
    texts = [LINES[4], "", LINES[0]]
    rows = [[str(number), *row] for number, text in enumerate(texts, 1) if text
            for row in _expected(model_path, text, 3)]  # fmt: skip
    same = ("nearest", "-m", model_path, "--in", lines, "--top", 3)
    found = nlpseq(*same, input="\n".join(texts).encode()).stdout
    assert [line.split("\t") for line in found.splitlines()] == rows
    assert nlpseq(*same, *texts).stdout == found
    assert nlpseq(*same, input=texts[0].encode()).stdout == "".join(
        line + "\n" for line in found.splitlines() if line.startswith("1\t")
    )


def test_objects_have_the_numbers_of_lines(nlpseq: Run, model_path: Path, lines: Path) -> None:
    done = nlpseq("nearest", "-m", model_path, "--json", "--in", lines, "--top", 1, LINES[3], " ")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["text"] == LINES[3]
    assert first["nearest"] == [{"similarity": pytest.approx(1.0), "number": 4, "line": LINES[3]}]
    assert second == {"text": "", "nearest": []}


def test_vectors_that_were_written_are_used_again(nlpseq: Run, model_path: Path, lines: Path) -> None:
    assert nlpseq("embed", "-q", "-m", model_path, "--output", "vectors.npy", lines).exit_code == 0
    same = ("nearest", "-m", model_path, LINES[0], "--in", lines)
    expected = nlpseq(*same).stdout
    assert nlpseq(*same, "--vectors", "vectors.npy").stdout == expected
    rows = np.load("vectors.npy")
    np.save("swapped.npy", rows[::-1])
    assert nlpseq(*same, "--vectors", "swapped.npy").stdout.splitlines()[0].endswith(LINES[4]), "they are not read"
    np.save("short.npy", rows[1:])
    done = nlpseq(*same, "--vectors", "short.npy")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "error: short.npy: it has fewer vectors, 4, than there are lines\nhint:  nlpseq embed"
    )


def test_the_nearest_words_of_a_word(nlpseq: Run, make_model: Callable[..., Path]) -> None:
    model = make_model("word")
    found = nlpseq("nearest", "-m", model, "cat", "--top", 3)
    words = package.load(model).similar_words("cat", 3)
    assert found.stdout == "".join(f"{each.similarity:.6f}\t{each.word}\n" for each in words)
    done = nlpseq("nearest", "-m", model, "--json", "--top", 1, input=b"cat\ncatt\n\ndog\n")
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(fields["text"], len(fields["nearest"])) for fields in made] == [
        ("cat", 1),
        ("catt", 0),
        ("", 0),
        ("dog", 1),
    ]
    assert done.stderr == "note: TEXT must be in the model's vocabulary, was 'catt'\n"
    done = nlpseq("nearest", "-m", model, "catt")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("hint:  did you mean cat?\n")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("a", "--vectors", "a.npy"), 2, "--vectors: are of the lines of a file\nhint:  --in FILE --vectors a.npy"),
        (("--in", "-"), 2, "--in: is standard input, so the texts must be arguments"),
        (("a", "-", "--in", "-"), 2, "--in: is standard input, so the texts must be arguments"),
        (("a", "--in", "gone.txt"), 1, "gone.txt: there is no such file\nhint:  ls . shows the files there"),
        (("a", "--in", "."), 1, ".: this is a folder, not a file\nhint:  cat ./* | nlpseq nearest TEXT --in -"),
        (("a", "--top", "0"), 2, "--top: "),
    ],
)
def test_what_nearest_cannot_do_is_told(
    nlpseq: Run, model_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = nlpseq("nearest", "-m", model_path, *arguments, input=b"a\n")
    assert (done.exit_code, done.stdout) == (status, "")
    assert done.stderr.startswith(f"error: {said}")


def test_the_methods_check_their_arguments(model_path: Path) -> None:
    model = package.load(model_path)
    assert model.embed("the cat").shape == (16,)
    assert np.array_equal(model.embed(["the cat"], pooling="last")[0], model.embed("the cat", pooling="last"))
    with pytest.raises(package.NlpseqError, match="texts: must be a text or a list of texts, was 3"):
        model.embed([3])  # type: ignore[list-item]
    with pytest.raises(package.NlpseqError, match="top: must be a whole number of at least 1, was 0"):
        model.nearest("a", ["b"], 0)
