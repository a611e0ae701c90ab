"""`nlpseq tokenize`: nothing is lost between encode and decode."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from nlpseq.text.tokenisers import TOKENISERS, load_tokeniser, train_tokeniser

Run = Callable[..., Result]
Lines = Callable[[bytes], list[bytes]]

TEXT = "the cat sat on the mat, où es-tu?\nthe dog sat on the log.\n\nöl 猫\n" * 40


@pytest.fixture(scope="session")
def tokenisers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each kind of tokeniser."""
    folder = tmp_path_factory.mktemp("tokenisers")
    paths = {kind: folder / f"{kind}.json" for kind in TOKENISERS}
    for kind, path in paths.items():
        path.write_bytes(train_tokeniser(kind, TEXT.split("\n"), 300).to_bytes())
    return paths


@pytest.mark.parametrize("kind", TOKENISERS)
def test_a_tokeniser_is_trained_into_a_file(nlpseq: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "corpus.txt").write_text(TEXT, encoding="utf-8")
    out = tmp_path / "t.json"
    same = ["tokenize", "train", tmp_path / "corpus.txt", "--tokens", kind, "--vocab-size", 8000, "--out", out]
    made = json.loads(nlpseq(*same, "--json").stdout)
    tokeniser = load_tokeniser(out.read_bytes())
    assert (made["kind"], made["asked"], made["size"]) == (kind, 8000, tokeniser.size)
    done = nlpseq(*same, "--overwrite")
    assert done.stdout == f"{out}  {kind}  {tokeniser.size} tokens  #{tokeniser.fingerprint}\n"
    assert ("asked 8,000 tokens, got" in done.stderr) == (kind != "byte")


@pytest.mark.parametrize("kind", ["byte", "word", "bpe"])
def test_every_odd_file_comes_back_byte_for_byte(
    nlpseq: Run, tokenisers: dict[str, Path], odd_file: bytes, lines_of: Lines, kind: str
) -> None:
    encoded = nlpseq("tokenize", "encode", "-t", tokenisers[kind], input=odd_file)
    assert encoded.exit_code == 0
    assert encoded.stdout_bytes.count(b"\n") == len(lines_of(odd_file))
    decoded = nlpseq("tokenize", "decode", "-t", tokenisers[kind], input=encoded.stdout_bytes)
    assert decoded.exit_code == 0
    assert lines_of(decoded.stdout_bytes) == lines_of(odd_file)


def test_ids_stand_in_a_line(nlpseq: Run, tokenisers: dict[str, Path]) -> None:
    assert nlpseq("tokenize", "encode", "-t", tokenisers["byte"], input=b"ab\n\nc").stdout == "97 98\n\n99\n"


def test_pieces_can_be_read(nlpseq: Run, tokenisers: dict[str, Path]) -> None:
    done = nlpseq("tokenize", "encode", "-t", tokenisers["word"], "--pieces", input="the cat ü\r\n".encode())
    assert done.stdout_bytes.startswith(b"the cat <0x20> <0xC3> <0xBC>")


def test_a_model_lends_its_tokeniser(nlpseq: Run, model_path: Path) -> None:
    assert nlpseq("tokenize", "encode", "-m", model_path, input="a").stdout == "97\n"


@pytest.mark.parametrize("line", [b"1 x 2", b"97 999999", b"-1", b"97 10 98", b"1.5", b"\xff"])
def test_what_is_no_line_of_tokens_gives_a_blank_line(nlpseq: Run, tokenisers: dict[str, Path], line: bytes) -> None:
    done = nlpseq("tokenize", "decode", "-t", tokenisers["char"], input=b"97\n" + line + b"\n98\n")
    assert (done.exit_code, done.stdout) == (1, "a\n\nb\n")
    assert done.stderr == "note: 1 line is blank, because the input was not a line of token ids\n"


def test_the_round_trip_can_be_proved(nlpseq: Run, tokenisers: dict[str, Path]) -> None:
    done = nlpseq("tokenize", "check", "-t", tokenisers["bpe"], input=b"a\n\xff\n\n")
    assert (done.exit_code, done.stdout) == (0, "3 lines, all come back byte for byte\n")
    checked = nlpseq("tokenize", "encode", "--check", "-t", tokenisers["bpe"], input=b"\xff\n")
    assert (checked.exit_code, checked.stderr) == (0, "all come back byte for byte\n")


def test_a_line_that_changes_is_counted(
    nlpseq: Run, tokenisers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TOKENISERS["char"], "decode_bytes", lambda self, ids: b"a")
    done = nlpseq("tokenize", "check", "-t", tokenisers["char"], "--json", input=b"a\nb\nc\n")
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"lines": 3, "changed": 2})
    checked = nlpseq("tokenize", "encode", "--check", "-q", "-t", tokenisers["char"], input=b"a\nb\nc\n")
    assert (checked.exit_code, checked.stderr) == (1, "2 do not come back byte for byte\n")


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (
            [],
            2,
            "--tokeniser: is missing, and so is --model\nhint:  nlpseq tokenize train CORPUS --out tokeniser.json && ",
        ),
        (["-t", "a", "-m", "b"], 2, "are two tokenisers"),
        (["-t", "nowhere.json"], 1, "nowhere.json: cannot be read: No such file or directory"),
        (["-t", __file__], 1, "test_tokenize.py: it is damaged"),
        (["-m", "nowhere"], 1, "nowhere: no such model"),
    ],
)
@pytest.mark.parametrize("verb", ["encode", "decode", "check"])
def test_without_a_tokeniser_nothing_goes(nlpseq: Run, verb: str, flags: list[str], status: int, said: str) -> None:
    done = nlpseq("tokenize", verb, *flags, input=b"a\n")
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr


def test_an_impossible_vocabulary_is_refused(nlpseq: Run) -> None:
    done = nlpseq("tokenize", "train", "stories", "--vocab-size", 100)
    assert (done.exit_code, done.stderr) == (2, "error: --vocab-size: must be at least 256, was 100\n")


def test_a_tokeniser_that_cannot_be_written_says_so(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("a\n")
    done = nlpseq("tokenize", "train", tmp_path / "corpus.txt", "--out", tmp_path / "no" / "t.json", "-q")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr


def test_a_tokeniser_is_not_replaced_unasked(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("a b\n")
    out = tmp_path / "t.json"
    out.write_text("mine")
    same = ["tokenize", "train", tmp_path / "corpus.txt", "--tokens", "char", "--out", out]
    done = nlpseq(*same)
    assert (done.exit_code, done.stdout, out.read_text()) == (1, "", "mine")
    assert done.stderr.startswith(f"error: {out}: exists already\nhint:  add --overwrite")
    assert nlpseq(*same, "--overwrite").exit_code == 0
    assert load_tokeniser(out.read_bytes()).size >= 256
    folder = nlpseq(*same[:-1], tmp_path)
    assert folder.stderr == f"error: {tmp_path}: is a folder, not a file\nhint:  --out {tmp_path}/tokeniser.json\n"


def test_a_tokeniser_in_place_of_a_model_is_taken_by_the_hint(nlpseq: Run, tmp_path: Path) -> None:
    path = tmp_path / "tok.json"
    path.write_bytes(train_tokeniser("char", ["a"], 300).to_bytes())
    for verb in ("encode", "decode", "check"):
        done = nlpseq("tokenize", verb, "-m", path, input="97")
        assert (done.exit_code, done.stderr) == (1, f"error: {path}: is a tokeniser, not a model\nhint:  -t {path}\n")
    path.write_text("{}")
    assert "is no model file" in nlpseq("tokenize", "encode", "-m", path, input="a").stderr


def test_a_model_in_place_of_a_tokeniser_is_taken_by_the_hint(nlpseq: Run, tmp_path: Path, model_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(model_path, run / "model.safetensors")
    for path in (run, run / "model.safetensors"):
        done = nlpseq("tokenize", "encode", "-t", path, input="a")
        assert (done.exit_code, done.stderr) == (1, f"error: {path}: is a model, not a tokeniser\nhint:  -m {path}\n")
        assert nlpseq("tokenize", "encode", "-m", path, input="a").stdout == "97\n"


def test_the_hint_without_a_tokeniser_leads_to_one(nlpseq: Run) -> None:
    Path("corpus.txt").write_text("a b\n")
    hint = nlpseq("tokenize", "encode", input="a").stderr.split("hint:  ")[1].strip()
    first, second = (shlex.split(command)[1:] for command in hint.replace("CORPUS", "corpus.txt").split(" && "))
    assert nlpseq(*first).exit_code == 0
    assert nlpseq("tokenize", "encode", input="a").stderr.endswith("hint:  nlpseq tokenize encode -t tokeniser.json\n")
    assert nlpseq(*second, input="a b").exit_code == 0
