"""`nlpseq tokenize`: a tokeniser alone, as a filter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import Json, Quiet, application, command
from nlpseq.errors import OptionError, TokeniserError
from nlpseq.models.model_file import load_model, replace_file
from nlpseq.options import check as check_options
from nlpseq.options import option
from nlpseq.text.formats import split_lines
from nlpseq.text.lines import read_batches, standard_input, write_lines
from nlpseq.text.parts import CorpusPart
from nlpseq.text.tokenisers import TOKENISERS, Tokeniser, load_tokeniser, train_tokeniser
from nlpseq.text.tokenisers.token_lines import decode_line_of_ids, encode_line, round_trips, spell_line

app = application("Train a tokeniser, and use it as a filter.")

Names = Annotated[
    list[str],
    typer.Argument(metavar="CORPUS", help="Text files (.gz and .xz too), bundled corpora, or hf:NAME[:CONFIG]."),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")]
TokeniserFile = Annotated[Path | None, typer.Option("--tokeniser", "-t", metavar="FILE", help="Tokeniser to use.")]
ModelFile = Annotated[Path | None, typer.Option("--model", "-m", metavar="PATH", help="Model whose tokeniser to use.")]
Pieces = Annotated[bool, typer.Option("--pieces", help="Spell the tokens instead of numbering them.")]
Check = Annotated[bool, typer.Option("--check", help="Decode each line again; the status is 1 if one has changed.")]


@dataclass(frozen=True, kw_only=True)
class TokeniserOptions:
    """What tokeniser is trained."""

    tokens: str = option("bpe", "what a token is", choices=tuple(TOKENISERS))
    vocab_size: int = option(8000, "largest vocabulary, its 256 bytes included", minimum=256)

    def __post_init__(self) -> None:
        check_options(self)


@command(app)
def train(
    corpus: Names,
    out: Out = Path("tokeniser.json"),
    json: Json = False,
    quiet: Quiet = False,
    *,
    tokeniser: TokeniserOptions,
) -> None:
    """Learn a tokeniser from text and write it to a file.

    \b
      nlpseq tokenize train corpus.txt --tokens bpe --vocab-size 8000 --out tokeniser.json
    """
    kind, asked = tokeniser.tokens, tokeniser.vocab_size
    made = train_tokeniser(kind, split_lines(CorpusPart(tuple(corpus)).pieces()), asked)
    replace_file(out, made.to_bytes())
    if made.size < asked and kind != "byte":
        output.note(f"note: asked {asked:,} tokens, got {made.size:,}: the corpus has no more", quiet=quiet)
    if json:
        facts = {"kind": kind, "size": made.size, "asked": asked, "fingerprint": made.fingerprint}
        output.write_json({"tokeniser": str(out), **facts})
    else:
        output.write_text(f"{out}  {kind}  {made.size} tokens  #{made.fingerprint}\n")


@command(app)
def encode(
    tokeniser: TokeniserFile = None,
    model: ModelFile = None,
    pieces: Pieces = False,
    check: Check = False,
    quiet: Quiet = False,
) -> int:
    """Write each line of standard input as numbers of tokens, with a space between two.

    \b
      nlpseq tokenize encode -t tokeniser.json < text.txt > ids.txt
      nlpseq tokenize encode -m checkpoints/lm --pieces < text.txt
    """
    loaded = _load(tokeniser, model)
    spelled = spell_line if pieces else encode_line
    changed = 0
    for batch in _batches():
        write_lines(spelled(loaded, line) for line in batch)
        changed += sum(not round_trips(loaded, line) for line in batch) if check else 0
    if check:
        output.note(_verdict(changed), quiet=quiet and not changed)
    return int(changed > 0)


@command(app)
def decode(tokeniser: TokeniserFile = None, model: ModelFile = None, quiet: Quiet = False) -> int:
    """Write the text of each line of numbers; the opposite of encode.

    A line that holds anything but numbers of tokens, or a newline's, gives a blank line, and the status is 1.

    \b
      nlpseq tokenize decode -t tokeniser.json < ids.txt
    """
    loaded = _load(tokeniser, model)
    damaged = 0
    for batch in _batches():
        decoded = [decode_line_of_ids(loaded, line) for line in batch]
        write_lines(b"" if line is None else line for line in decoded)
        damaged += decoded.count(None)
    if damaged:
        lines = "1 line is" if damaged == 1 else f"{damaged:,} lines are"
        output.note(f"note: {lines} blank, where no line of tokens was read", quiet=quiet)
    return int(damaged > 0)


@command(app)
def check(tokeniser: TokeniserFile = None, model: ModelFile = None, json: Json = False) -> int:
    """Prove that each line of standard input comes back from its tokens byte for byte.

    The status is 1 if one does not.
    """
    loaded = _load(tokeniser, model)
    lines = changed = 0
    for batch in _batches():
        lines += len(batch)
        changed += sum(not round_trips(loaded, line) for line in batch)
    if json:
        output.write_json({"lines": lines, "changed": changed})
    else:
        output.write_text(f"{lines:,} {'line' if lines == 1 else 'lines'}, {_verdict(changed)}\n")
    return int(changed > 0)


def _verdict(changed: int) -> str:
    if not changed:
        return "all come back byte for byte"
    return f"{changed:,} {'does' if changed == 1 else 'do'} not come back byte for byte"


def _batches() -> Iterator[list[bytes]]:
    """Lines of standard input, however long: nothing may be cut where the text has to come back."""
    return read_batches(standard_input(), longest=sys.maxsize - 1)


def _load(tokeniser: Path | None, model: Path | None) -> Tokeniser:
    if tokeniser is not None and model is not None:
        raise OptionError("--tokeniser and --model", "are two tokenisers: give one of them")
    if model is not None:
        return load_model(model).tokeniser
    if tokeniser is None:
        raise OptionError("--tokeniser", "is missing, and so is --model", "nlpseq tokenize train CORPUS")
    try:
        return load_tokeniser(tokeniser.read_bytes())
    except OSError as error:
        hint = f"nlpseq tokenize train CORPUS --out {tokeniser}"
        raise TokeniserError(str(tokeniser), f"cannot be read: {error.strerror}", hint) from error
    except TokeniserError as error:
        raise TokeniserError(str(tokeniser), error.what, error.hint) from error
