"""`nlpseq train translation` and `nlpseq translate`: one line out for each line in, whatever comes in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import Result

from nlpseq.decoding import ensemble
from nlpseq.decoding.device.decoder import TensorDecoder
from nlpseq.device import on_device
from nlpseq.models import translator
from nlpseq.models.model_file import save_model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import train_tokeniser

Run = Callable[..., Result]
Lines = Callable[[bytes], list[bytes]]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small translator of random weights."""
    options = TranslatorOptions(hidden_size=8, embedding_size=6)
    tokeniser = train_tokeniser("char", ["abc äöü 猫"] * 2, 270)
    path = tmp_path_factory.mktemp("translator") / "model.safetensors"
    weights = translator.initial_weights(options, tokeniser.size, 1)
    weights["output.bias"][10] += 4  # texts are short
    save_model(path, translator.TASK, asdict(options), weights, tokeniser)
    return path


def test_from_files_to_a_filter(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\ntwo\n" * 30)
    (tmp_path / "a.de").write_text("eins\nzwei\n" * 30)
    sizes = ("--hidden-size", 24, "--embedding-size", 8, "--steps", 150, "--batch-size", 10)
    sizes += ("--dropout", 0, "--label-smoothing", 0)
    files = ("--source", tmp_path / "a.en", "--target", tmp_path / "a.de")
    done = nlpseq("train", "translation", *files, "--out", tmp_path / "run", "-q", "--json", *sizes)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["task"] == "translator"
    made = nlpseq("translate", "-m", tmp_path / "run", input=b"two\n\none\n")
    assert (made.exit_code, made.stdout) == (0, "zwei\n\neins\n")


def test_each_line_has_one_whatever_it_is(nlpseq: Run, untrained: Path, odd_file: bytes, lines_of: Lines) -> None:
    data = odd_file[:20_000]
    done = nlpseq("translate", "-m", untrained, "--beam", 1, "-q", input=data)
    assert done.exit_code == 0
    assert len(lines_of(done.stdout_bytes)) == len(lines_of(data))


def test_objects_keep_their_fields_and_tell_their_status(nlpseq: Run, untrained: Path) -> None:
    lines = [b'{"id": 1, "text": "abc"}', b"[]", json.dumps({"text": "a" * 3000}).encode(), b'{"text": ""}']
    done = nlpseq("translate", "-m", untrained, "--jsonl", input=b"\n".join(lines))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in found] == ["ok", "invalid-json", "too-long", "ok"]
    assert found[0]["id"] == 1 and isinstance(found[0]["translation"], str) and found[0]["score"] < 0
    assert (found[1]["translation"], found[2]["translation"], found[3]["translation"]) == (None, None, "")


def test_more_than_one_translation_is_numbered(nlpseq: Run, untrained: Path) -> None:
    done = nlpseq("translate", "-m", untrained, "--n-best", 2, input=b"abc\n\n" + b"a" * 3000 + b"\n")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "2", "3"]
    assert float(rows[0][3]) > float(rows[1][3])


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (("--beam", "0"), "--beam: must be at least 1, was 0", 2),
        (("--n-best", "9"), "--n-best: must be at most the beam, 5, was 9", 2),
        (("--attention", "a.png"), "--attention: must be a name that ends in .jsonl or .json or .svg, was 'a.png'", 2),
        (("--attention", "nowhere/a.svg"), "nowhere/a.svg: cannot be written", 1),
        (("--attention", "-"), "--attention: - is for objects", 2),
        (("--temperature", "2"), "--sample: is missing", 2),
        (("--random-seed", "2"), "--sample: is missing", 2),
        (("--sample", "2", "--beam", "3"), "--sample: draws translations, but a beam searches for them", 2),
        (("--replace-unknown",), "--replace-unknown: has nothing to replace", 2),
        (("-m", "nowhere"), "nowhere: no such model", 1),
    ],
)
def test_what_makes_no_sense_is_refused(
    nlpseq: Run, untrained: Path, arguments: tuple[str, ...], message: str, status: int
) -> None:
    done = nlpseq("translate", "-m", untrained, *arguments, input=b"a\n")
    assert done.exit_code == status
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "a"), "--source and --target: go together"),
        (("pairs.tsv", "--source", "a", "--target", "b"), "replace CORPUS"),
        (("nowhere.tsv",), "nowhere.tsv: there is no such file"),
    ],
)
def test_a_corpus_that_is_none_is_refused(
    nlpseq: Run, arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = nlpseq("train", "translation", *arguments)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert not list(tmp_path.iterdir()) or not (tmp_path / "checkpoints/translation").exists()


def test_a_language_model_is_no_translator(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("translate", "-m", model_path, input=b"a\n")
    assert done.exit_code == 1
    assert "is a language model, a translator is needed" in done.stderr
    assert "hint:  -m english-german" in done.stderr


def test_a_line_is_answered_before_the_next_one_comes_and_without_torch(untrained: Path) -> None:
    program = [sys.executable, "-X", "importtime", "-m", "nlpseq", "translate", "-m", str(untrained)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"a\n")
        process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        answer, until = b"", time.monotonic() + 60
        while not answer and time.monotonic() < until:
            answer = process.stdout.read() or b""
            time.sleep(0.02)
        assert answer.endswith(b"\n")
        process.stdin.close()
        imported = process.stderr.read()
    assert b"torch" not in imported


def test_a_translator_is_evaluated_beside_references(nlpseq: Run, untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("abc\tcba\n\ta\nb\tb\n")
    (tmp_path / "a.src").write_text("abc\n\nb\n")
    (tmp_path / "a.ref").write_text("cba\na\nb\n")
    files = ("--source", tmp_path / "a.src", "--target", tmp_path / "a.ref")
    found = [nlpseq("evaluate", "-m", untrained, "--json", *given) for given in ((tmp_path / "a.tsv",), files)]
    assert [one.exit_code for one in found] == [0, 0], found[0].stderr
    first, second = (json.loads(one.stdout)["scores"] for one in found)
    assert first == second
    assert [one["name"] for one in first] == ["bleu", "chrf", "ter", "accuracy", "loss", "perplexity"]
    two = json.loads(nlpseq("evaluate", "-m", untrained, "--json", *files, *files[2:]).stdout)["scores"]
    assert "nrefs:2" in two[0]["signature"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "does not say what text it was validated on"),
        (("--source", "a"), "CORPUS: must be tables of pairs, or --source and --target"),
        (("a.tsv", "--held-out"), "--held-out: is for language models"),
        (("a.tsv", "--bleu-tokens", "13b"), "--bleu-tokens: must be one of 13a, intl,"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused(
    nlpseq: Run, untrained: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = nlpseq("evaluate", "-m", untrained, *arguments)
    assert done.exit_code in (1, 2)
    assert message in done.stderr


@pytest.mark.parametrize("option", [("--beam", "3"), ("--bleu-tokens", "zh"), ("--target", "a")])
def test_a_language_model_has_no_translations_to_evaluate(
    nlpseq: Run, model_path: Path, option: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    done = nlpseq("evaluate", "-m", model_path, tmp_path / "a.txt", *option)
    assert f"{option[0]}: is for translators" in done.stderr


def test_lines_are_scored_given_their_sources(nlpseq: Run, untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.src").write_text("abc\nb\n")
    (tmp_path / "a.ref").write_text("cb\nbbb\n")
    files = ("--source", tmp_path / "a.src")
    done = nlpseq("score", "-m", untrained, *files, input=b"cb\nbbb\n")
    assert done.exit_code == 0
    total = sum(float(line.split("\t")[0]) for line in done.stdout.splitlines())
    scores = json.loads(nlpseq("evaluate", "-m", untrained, "--json", *files, "--target", tmp_path / "a.ref").stdout)[
        "scores"
    ]
    assert -total == pytest.approx(scores[4]["parts"]["nats"], rel=1e-5)
    given = ("-m", untrained, *files, "--jsonl")
    alone = [
        json.loads(nlpseq("score", *given, input=first + b'{"text": "bbb"}\n').stdout.splitlines()[1])
        for first in (b"[]\n", b'{"text": "' + b"c" * 3000 + b'"}\n')
    ]
    second = float(done.stdout.splitlines()[1].split("\t")[0])
    assert [one["log_probability"] for one in alone] == pytest.approx([second] * 2, abs=1e-4)


@pytest.mark.parametrize(("data", "message"), [(b"a\n", "more lines than"), (b"a\nb\nc\n", "fewer lines than")])
def test_sources_out_of_step_are_told(nlpseq: Run, untrained: Path, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.src").write_text("abc\nb\n")
    done = nlpseq("score", "-m", untrained, "--source", tmp_path / "a.src", input=data)
    assert done.exit_code == 1 and message in done.stderr


def test_a_translator_scores_nothing_without_sources(nlpseq: Run, untrained: Path) -> None:
    done = nlpseq("score", "-m", untrained, input=b"a\n")
    assert "--source: is missing" in done.stderr


def test_attention_goes_to_a_file_whole_or_not_at_all(nlpseq: Run, untrained: Path, tmp_path: Path) -> None:
    looked, drawn = tmp_path / "look.jsonl", tmp_path / "look.svg"
    data = b"abc\n\n" + b"a" * 3000 + b"\n"
    plain = nlpseq("translate", "-m", untrained, input=data).stdout_bytes
    for path in (looked, drawn):
        done = nlpseq("translate", "-m", untrained, "--attention", path, input=data)
        assert (done.exit_code, done.stdout_bytes) == (0, plain)
    first, blank, long = (json.loads(line) for line in looked.read_text().splitlines())
    assert first["line"] == 1 and first["source"] == ["a", "b", "c", "\n"]
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in first["shares"])
    assert len(first["shares"]) == len(first["target"])
    assert (blank["shares"], long["shares"]) == ([], [])
    assert drawn.read_text().startswith("<svg")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["look.jsonl", "look.svg"]


def test_attention_is_a_field_of_objects(nlpseq: Run, untrained: Path) -> None:
    line = b'{"text": "ab"}\n'
    done = nlpseq("translate", "-m", untrained, "--jsonl", "--attention", "-", "--n-best", 2, input=line)
    found = json.loads(done.stdout)
    assert found["attention"]["source"] == ["a", "b", "\n"] and len(found["others"]) == 1


def test_samples_are_drawn_the_same_again(nlpseq: Run, untrained: Path) -> None:
    drawn = ("translate", "-m", untrained, "--sample", 3, "--temperature", 1.5, "--random-seed", 7)
    first = nlpseq(*drawn, input=b"abc\nca\n").stdout
    rows = [line.split("\t") for line in first.split("\n")[:-1]]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2"] * 3 and len({row[1] for row in rows}) > 1
    assert nlpseq(*drawn, input=b"abc\nca\n").stdout == first
    assert nlpseq(*drawn, input=b"abc\n").stdout == "".join(line + "\n" for line in first.split("\n")[:3])


def test_several_models_work_together(nlpseq: Run, untrained: Path) -> None:
    alone = nlpseq("translate", "-m", untrained, input=b"abc\n").stdout
    assert nlpseq("translate", "-m", untrained, "-m", untrained, input=b"abc\n").stdout == alone


def test_a_translation_that_never_ends_is_cut_and_told(nlpseq: Run, untrained: Path, tmp_path: Path) -> None:
    done = nlpseq("translate", "-m", untrained, "--shortest", 4, "--longest", 4, "--jsonl", input=b'{"text": "ab"}\n')
    found = json.loads(done.stdout)
    assert found["status"] == "cut" and found["translation"]
    assert "1 line was cut short in translation" in done.stderr


def test_what_is_looked_at_is_shown_in_a_terminal(nlpseq: Run, untrained: Path) -> None:
    done = nlpseq("inspect", "attention", "-m", untrained, "abc", "--target", "cb")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1 + 3 + 2 and done.stdout.endswith("1 a  2 b  3 c  4 ⏎\n")
    found = json.loads(nlpseq("inspect", "attention", "-m", untrained, "abc", "--json").stdout)
    assert len(found["shares"]) == len(found["target"]) and found["text"] == "abc"
    assert nlpseq("inspect", "attention", "-m", untrained, " ").exit_code == 2


def test_what_windows_adds_is_not_translated(nlpseq: Run, untrained: Path) -> None:
    plain = nlpseq("translate", "-m", untrained, input=b"abc\ncab\n").stdout_bytes
    assert nlpseq("translate", "-m", untrained, input=b"\xef\xbb\xbfabc\r\ncab\r\n").stdout_bytes == plain
    done = nlpseq("translate", "-m", untrained, "--jsonl", input=b'\xef\xbb\xbf{"text": "abc"}\r\n')
    assert json.loads(done.stdout)["status"] == "ok"


def test_a_large_file_has_an_answer_each_in_order(nlpseq: Run, untrained: Path) -> None:
    lines = [b"abc"[: 1 + place % 3] for place in range(300)]
    made = nlpseq("translate", "-m", untrained, "--beam", 1, input=b"\n".join(lines)).stdout.split("\n")[:-1]
    assert len(made) == 300 and made[:3] * 100 == made


def test_a_pair_that_is_too_long_is_left_out_of_training_and_scores(
    nlpseq: Run, untrained: Path, tmp_path: Path
) -> None:
    table = tmp_path / "a.tsv"
    table.write_text("ab\tba\n" * 40 + "a" * 3000 + "\tb\n")
    sizes = ("--hidden-size", 8, "--embedding-size", 4, "--steps", 2)
    done = nlpseq("train", "translation", table, "--out", tmp_path / "run", *sizes)
    assert done.exit_code == 0 and "1 pair with more than 200 tokens left out" in done.stderr
    done = nlpseq("evaluate", "-m", untrained, table, "--beam", 1)
    assert done.exit_code == 0 and "1 of 41 sources are too long" in done.stderr
    assert "|left-out:1" in done.stdout


def test_pairs_are_for_the_translator_where_no_model_is_named(
    nlpseq: Run, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints" / "translation"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(untrained.read_bytes())
    (tmp_path / "a.tsv").write_text("ab\tba\n")
    (tmp_path / "a.txt").write_text("ab\n")
    done = nlpseq("evaluate", "a.tsv")
    assert "bleu" in done.stdout, done.stderr
    assert nlpseq("score", "--source", "a.txt", input=b"ba\n").exit_code == 0
    done = nlpseq("translate", "-m", "checkpoints/translatin", input=b"ab\n")
    assert done.stderr.endswith("hint:  did you mean checkpoints/translation?\n")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cuda` is torch on the CPU, where everything is searched as on a GPU."""
    monkeypatch.setattr(ensemble, "on_device", lambda weights, device: on_device(weights, "torch:cpu"))
    monkeypatch.setattr(ensemble.Member, "on_gpu", True)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    "arguments", [("--n-best", 3), ("--jsonl", "--attention", "-"), ("--sample", 2, "--random-seed", 1)], ids=str
)
def test_on_another_device_lines_have_the_same_answers(
    nlpseq: Run, untrained: Path, arguments: tuple[object, ...]
) -> None:
    data = b"abc\n\n" + b"a" * 3000 + b"\n\xff\n[]\n" + b'{"text": "cab"}\n' + b"a b c\n" * 70
    both = [nlpseq("translate", "-m", untrained, *arguments, "--device", one, input=data) for one in ("cpu", "cuda")]
    first, second = ([_rounded(line) for line in done.stdout.splitlines()] for done in both)
    assert first == second and len(first) > 75


def _rounded(line: str) -> str:
    return re.sub(r"-?[0-9]+[.][0-9e-]+", lambda number: f"{float(number[0]):.2f}", line)


@pytest.mark.usefixtures("stand_in")
def test_a_line_that_does_not_fit_a_gpu_is_told(nlpseq: Run, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(TensorDecoder, "read", full)
    done = nlpseq("translate", "-m", untrained, "--device", "cuda", input=b"abc\nab\n")
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr.startswith("error: --device: ") and "the GPU's memory does not hold a single text" in done.stderr


def test_a_gpu_that_is_not_there_is_told(nlpseq: Run, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = nlpseq("translate", "-m", untrained, "--device", "cuda", input=b"abc\n")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: --device: cuda cannot be used: torch ")
    assert done.stderr.endswith("\nhint:  --device cpu\n")
