"""`nlpseq tokenize`: train a tokeniser, or use one as a filter."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.filters import filter_lines
from nlpseq.commands.flags import Json, Quiet, Without, application, command
from nlpseq.commands.inputs import LineOptions, find_input, note_typed_corpus
from nlpseq.errors import CorpusError, ModelFileError, OptionError, TokeniserError
from nlpseq.files import replace_file
from nlpseq.models.model_file import NAME, load_model
from nlpseq.options import check as check_options
from nlpseq.options import option
from nlpseq.paths import exists, is_file, is_folder, need_target
from nlpseq.text.formats import split_lines
from nlpseq.text.splits import CorpusSpan
from nlpseq.text.tokenisers import TOKENISERS, Tokeniser, load_tokeniser, train_tokeniser
from nlpseq.text.tokenisers.token_lines import decode_line_of_ids, encode_line, round_trips, spell_line

app = application("Train a tokeniser, or use one as a filter.")

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS", help="Text files and folders, as train lm reads them, bundled corpora, or hf:NAME[:CONFIG]."
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file by the new tokeniser.")]
TokeniserFile = Annotated[Path | None, typer.Option("--tokeniser", "-t", metavar="FILE", help="Tokeniser to use.")]
ModelFile = Annotated[Path | None, typer.Option("--model", "-m", metavar="PATH", help="Model whose tokeniser to use.")]
Pieces = Annotated[bool, typer.Option("--pieces", help="Write the tokens as text instead of numbers.")]
Check = Annotated[bool, typer.Option("--check", help="Also decode each line; the status is 1 if any line changes.")]

Checked = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT|FILE", help="Texts, or files of lines. [default: standard input]"),
]
PlainLines = Annotated[LineOptions, Without("jsonl"), Without("processes")]

DEFAULT_FILE = Path("tokeniser.json")
LONGEST_WHOLE = 1 << 28  # bytes in a line, which is read whole: the text of a cut line could not be restored
LARGEST_FILE = 1 << 28  # bytes of a tokeniser's file


@dataclass(frozen=True, kw_only=True)
class TokeniserOptions:
    """The kind and size of a tokeniser."""

    tokens: str = option("bpe", "what a token is", choices=tuple(TOKENISERS))
    vocab_size: int = option(8000, "largest vocabulary, the 256 bytes included", minimum=256)

    def __post_init__(self) -> None:
        check_options(self)


@command(app)
def train(
    corpus: Names,
    out: Out = DEFAULT_FILE,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    tokeniser: TokeniserOptions,
) -> None:
    """Learn a tokeniser from text and write it to a file.

    \b
      nlpseq tokenize train corpus.txt --tokens bpe --out tokeniser.json
    """
    if is_folder(out):
        raise TokeniserError(str(out), "is a folder, not a file", f"--out {out / DEFAULT_FILE}")
    need_target(out)
    if exists(out) and not overwrite:
        raise TokeniserError(str(out), "exists already", "add --overwrite, or choose another file with --out")
    kind, requested = tokeniser.tokens, tokeniser.vocab_size
    note_typed_corpus(corpus, quiet=quiet)
    trained = train_tokeniser(kind, split_lines(CorpusSpan(tuple(corpus)).pieces()), requested)
    replace_file(out, trained.to_bytes())
    if trained.size < requested and kind != "byte":
        output.note(f"note: asked {requested:,} tokens, got {trained.size:,}: the corpus has no more", quiet=quiet)
    if json:
        facts = {"kind": kind, "size": trained.size, "asked": requested, "fingerprint": trained.fingerprint}
        output.write_json({"tokeniser": str(out), **facts})
    else:
        output.write_text(f"{out}  {kind}  {trained.size} tokens  #{trained.fingerprint}\n")


@command(app)
def encode(
    tokeniser: TokeniserFile = None,
    model: ModelFile = None,
    pieces: Pieces = False,
    check: Check = False,
    quiet: Quiet = False,
    *,
    lines: PlainLines,
) -> int:
    """Write each text or line of a file as token ids, separated by spaces.

    With --json each line is an object, with its ids under `ids`, or its tokens under `pieces`.

    \b
      nlpseq tokenize encode -t tokeniser.json "the cat sat"
      nlpseq tokenize encode -t tokeniser.json text.txt > ids.txt
      nlpseq tokenize encode -m checkpoints/lm --pieces < text.txt
    """
    source = lines.find("nlpseq tokenize encode", quiet=quiet)
    loaded = _load("encode", tokeniser, model)
    spell = spell_line if pieces else encode_line
    changed = 0

    def answer(batch: Sequence[bytes]) -> Iterator[bytes]:
        nonlocal changed
        for line in batch:
            changed += check and not round_trips(loaded, line)
            yield _as_object(loaded, line, pieces=pieces) if lines.json else spell(loaded, line)

    filter_lines(_whole(answer), source, longest=LONGEST_WHOLE)
    if check:
        output.note(_verdict(changed), quiet=quiet and not changed)
    return int(changed > 0)


@command(app)
def decode(tokeniser: TokeniserFile = None, model: ModelFile = None, quiet: Quiet = False, *, lines: PlainLines) -> int:
    """Write the text of each line of token ids; the opposite of encode.

    A line with anything but token ids, or with the id of a newline, becomes a blank line, and the status is 1. With
    --json each text is under `text` in an object, and is null for such a line.

    \b
      nlpseq tokenize decode -t tokeniser.json "97 98"
      nlpseq tokenize decode -t tokeniser.json ids.txt
    """
    source = lines.find("nlpseq tokenize decode", quiet=quiet, noun="token ids")
    loaded = _load("decode", tokeniser, model)
    damaged = 0

    def answer(batch: Sequence[bytes]) -> Iterator[bytes]:
        nonlocal damaged
        for line in batch:
            decoded = decode_line_of_ids(loaded, line)
            damaged += decoded is None
            text = None if decoded is None else decoded.decode("utf-8", "surrogateescape")
            yield output.to_json({"text": text}).encode() if lines.json else decoded or b""

    filter_lines(_whole(answer), source, longest=LONGEST_WHOLE)
    if damaged:
        blank = "1 line is" if damaged == 1 else f"{damaged:,} lines are"
        output.note(f"note: {blank} blank, because the input was not a line of token ids", quiet=quiet)
    return int(damaged > 0)


@command(app)
def check(texts: Checked = None, tokeniser: TokeniserFile = None, model: ModelFile = None, json: Json = False) -> int:
    """Check that decoding restores each text or line of a file byte for byte.

    The status is 1 if any line changes.
    """
    source = find_input(texts or (), "nlpseq tokenize check", quiet=False)
    loaded = _load("check", tokeniser, model)
    read = changed = 0

    def answer(batch: Sequence[bytes]) -> Sequence[bytes]:
        nonlocal read, changed
        read += len(batch)
        changed += sum(not round_trips(loaded, line) for line in batch)
        return ()

    filter_lines(_whole(answer), source, longest=LONGEST_WHOLE)
    if json:
        output.write_json({"lines": read, "changed": changed})
    else:
        output.write_text(f"{read:,} {'line' if read == 1 else 'lines'}, {_verdict(changed)}\n")
    return int(changed > 0)


def _whole(answer: Callable[[Sequence[bytes]], Iterable[bytes]]) -> Callable[[Sequence[bytes]], Iterable[bytes]]:
    """The function for lines that were read whole. It raises CorpusError for one of more than LONGEST_WHOLE bytes."""

    def checked(batch: Sequence[bytes]) -> Iterable[bytes]:
        if any(len(line) > LONGEST_WHOLE for line in batch):
            what = f"a line has more than {LONGEST_WHOLE >> 20} MiB, too much to restore it"
            raise CorpusError("input", what, "fold -s FILE | nlpseq tokenize encode")
        return answer(batch)

    return checked


def _as_object(tokeniser: Tokeniser, line: bytes, *, pieces: bool) -> bytes:
    """A line's tokens as a JSON object."""
    ids = tokeniser.encode(line.decode("utf-8", "surrogateescape")).tolist()
    fields = {"pieces": [tokeniser.spell(token) for token in ids]} if pieces else {"ids": ids}
    return output.to_json(fields).encode()


def _verdict(changed: int) -> str:
    if not changed:
        return "all come back byte for byte"
    return f"{changed:,} {'does' if changed == 1 else 'do'} not come back byte for byte"


def _of_model(model: Path) -> Tokeniser:
    """The tokeniser of a model. Raises TokeniserError for the file of a tokeniser, and ModelFileError."""
    try:
        return load_model(model).tokeniser
    except ModelFileError:
        if _is_tokeniser(model):
            hint = f"-t {shlex.quote(str(model))}"
            raise TokeniserError(str(model), "is a tokeniser, not a model", hint) from None
        raise


def _is_tokeniser(path: Path) -> bool:
    """Whether a file is that of a tokeniser."""
    if not is_file(path):
        return False
    try:
        load_tokeniser(_read_bytes(path))
    except (OSError, ValueError, TokeniserError):
        return False
    return True


def _read_bytes(path: Path) -> bytes:
    """The bytes of a tokeniser's file. Raises OSError, and TokeniserError for more than LARGEST_FILE of them."""
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise TokeniserError(str(path), f"is no tokeniser: it has more than {LARGEST_FILE >> 20} MiB")
    return data


def _load(verb: str, tokeniser: Path | None, model: Path | None) -> Tokeniser:
    if tokeniser is not None and model is not None:
        raise OptionError("tokeniser and model", "are two tokenisers: give one of them")
    if model is not None:
        return _of_model(model)
    if tokeniser is None:
        training = "" if DEFAULT_FILE.exists() else f"nlpseq tokenize train CORPUS --out {DEFAULT_FILE} && "
        hint = f"{training}nlpseq tokenize {verb} -t {DEFAULT_FILE}"
        raise OptionError("tokeniser", "is missing, and so is --model", hint)
    if (exists(tokeniser) and exists(tokeniser / NAME)) or tokeniser.suffix == Path(NAME).suffix:
        raise TokeniserError(str(tokeniser), "is a model, not a tokeniser", f"-m {tokeniser}")
    try:
        return load_tokeniser(_read_bytes(tokeniser))
    except IsADirectoryError:
        raise TokeniserError(str(tokeniser), "is a folder, not a tokeniser", f"-t {tokeniser / DEFAULT_FILE}") from None
    except OSError as error:
        hint = f"nlpseq tokenize train CORPUS --out {tokeniser}"
        raise TokeniserError(str(tokeniser), f"cannot be read: {error.strerror}", hint) from error
    except TokeniserError as error:
        raise TokeniserError(str(tokeniser), error.what, error.hint) from error
