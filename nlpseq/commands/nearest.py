"""`nlpseq nearest`: a text in, the lines of a file that are most like it out; or a word in, the words of the model."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.arguments import is_text, nearest_file
from nlpseq.commands.chosen_model import any_model
from nlpseq.commands.filters import LineFaults
from nlpseq.commands.flags import AnyModel, Device, Json, Quiet, Without, application, command
from nlpseq.commands.inputs import Input, find_input
from nlpseq.errors import CorpusError, OptionError
from nlpseq.models.model_file import load_model
from nlpseq.paths import exists, is_folder
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.display import quoted
from nlpseq.text.lines import BYTE_ORDER_MARK, portions
from nlpseq.text.tokenisers import to_utf8
from nlpseq.vectors.embedder import TextEmbedder, VectorOptions
from nlpseq.vectors.neighbours import Neighbour, Neighbours
from nlpseq.vectors.vector_files import VectorFile
from nlpseq.vectors.vocabulary import SimilarWord, Vocabulary

app = application("The lines, or the words, that are most like a text.")

COMMAND = "nlpseq nearest"
MOST_TEXTS = 10_000  # that are looked for at once
NO_TEXT = "note: there is no text to look for"
BLANK_TEXTS = f"{NO_TEXT}, only blank ones"
WITH_LINES = f"{COMMAND} TEXT --in FILE"
IN_LINES = f"{COMMAND} TEXT --in -"

Found = Neighbour | SimilarWord

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT|FILE", help="Texts, or files of lines of them. [default: standard input]"),
]
Lines = Annotated[
    str | None,
    typer.Option("--in", metavar="FILE", help="The lines to look in; - is standard input. [default: the words]"),
]
Top = Annotated[int, typer.Option("--top", metavar="N", min=1, max=1000, help="How many to write for each text.")]
Vectors = Annotated[
    Path | None,
    typer.Option("--vectors", metavar="FILE", help="Vectors of these lines, from nlpseq embed --output FILE."),
]


@command(app)
def nearest(
    texts: Texts = None,
    lines: Lines = None,
    top: Top = 10,
    vector_file: Vectors = None,
    model: AnyModel = None,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    vectors: Annotated[VectorOptions, Without("normalise")],
) -> None:
    """Write the lines of a file that are most like a text, or the words of a model that are most like a word.

    \b
      similarity <TAB> line

    The similarity is the cosine of the vectors, from -1 to 1: those of nlpseq embed, and for words those of the
    model's embedding. Blank lines are not looked at, and a repeated line is written once. If there are several texts,
    or they come from a file or from standard input, each line starts with the number of its text and a tab.

    \b
      nlpseq nearest "where is my card?" --in questions.txt --top 3
      nlpseq nearest film actor
      nlpseq nearest --json --in questions.txt < asked.txt
    """
    arguments = texts or []
    _check(arguments, lines, vector_file, vectors.pooling)
    source, faults = find_input(arguments, COMMAND, quiet=quiet), LineFaults(quiet=quiet)
    alone = len(arguments) == 1 and "\n" not in arguments[0] and is_text(arguments[0], COMMAND)
    path, asked = any_model(model, quiet=quiet), _read(source, faults)
    if lines is None:
        _note_files(arguments, quiet=quiet)
        found = _words(Vocabulary(load_model(path)), asked, top, alone=alone, quiet=quiet)
    else:
        embedder = TextEmbedder.load(path, vectors, device)
        rows = None if vector_file is None else VectorFile(vector_file, embedder.size)
        found = _search(embedder, _gathered(asked), lines, top, rows, faults)
    _write(found, alone=alone, json=json)
    faults.report()


def _check(texts: Sequence[str], lines: str | None, vector_file: Path | None, pooling: str | None) -> None:
    """Raises OptionError for options that contradict each other, CorpusError for lines that cannot be read."""
    if lines is None:
        if vector_file is not None:
            raise OptionError("vectors", "are of the lines of a file", f"--in FILE --vectors {vector_file}")
        if pooling is not None:
            raise OptionError("pooling", "is for the lines of a file", f"--in FILE --pooling {pooling}")
        return
    if lines == STANDARD_INPUT:
        if not texts or STANDARD_INPUT in texts:
            raise OptionError("in", "is standard input, so the texts must be arguments", IN_LINES)
        return
    if is_folder(lines):
        raise CorpusError(lines, "this is a folder, not a file", f"cat {shlex.quote(lines)}/* | {IN_LINES}")
    if not exists(lines):
        raise _no_such_file(lines)
    is_text(lines, IN_LINES)


def _no_such_file(path: str) -> CorpusError:
    """The error for a file that does not exist; the hint names a similar file, or shows which files there are."""
    if near := nearest_file(path):
        return CorpusError(path, "there is no such file", f"did you mean {shlex.quote(near)}?")
    folder = next(folder for folder in (*Path(path).parents, Path()) if folder.is_dir())
    listed = "shows the files there; --in - reads lines from standard input"
    return CorpusError(path, "there is no such file", f"ls {shlex.quote(str(folder))} {listed}")


def _note_files(arguments: Sequence[str], *, quiet: bool) -> None:
    """Say that an argument is a file of texts to look for, in case its lines are what should be looked in."""
    for name in [argument for argument in arguments if os.path.isfile(argument)][:1]:
        texts = [argument for argument in arguments if argument != name] or ["TEXT"]
        hint = f"{COMMAND} {shlex.join(texts)} --in {shlex.quote(name)} looks in it"
        output.note(f"note: {name} is a file of words to look for; {hint}", quiet=quiet)


def _portions(source: Input, faults: LineFaults) -> Iterator[list[str | None]]:
    """The lines of an input in portions; None for a line that is blank or too long."""
    for first, batch in source.batches():
        if first and batch:
            batch[0] = batch[0].removeprefix(BYTE_ORDER_MARK)
        for portion in portions(batch):
            texts = (faults.read_plain(line, as_object=False).text for line in portion)
            yield [text if text and text.strip() else None for text in texts]


def _read(source: Input, faults: LineFaults) -> Iterator[str]:
    """The lines of an input, an empty text for one that is blank or too long."""
    for portion in _portions(source, faults):
        yield from (text or "" for text in portion)


def _gathered(texts: Iterable[str]) -> list[str]:
    """All texts. Raises CorpusError if there are more than MOST_TEXTS."""
    gathered: list[str] = []
    for text in texts:
        if len(gathered) == MOST_TEXTS:
            what = f"there are more than {MOST_TEXTS:,} texts to look for"
            raise CorpusError("TEXT", what, f"head -{MOST_TEXTS} FILE | {COMMAND} --in FILE")
        gathered.append(text)
    return gathered


def _search(
    embedder: TextEmbedder, texts: Sequence[str], lines: str, top: int, rows: VectorFile | None, faults: LineFaults
) -> Iterator[tuple[str, Sequence[Found]]]:
    """Each text with the lines of a file that are most like it; none for a blank text.

    A note says if there is no text or no line.
    """
    if not any(texts):
        output.note(BLANK_TEXTS if texts else NO_TEXT, quiet=faults.quiet)
    neighbours = Neighbours(embedder.embed(texts), top)
    for portion in _portions(find_input([lines], IN_LINES, quiet=faults.quiet), faults):
        if portion:
            found = embedder.embed([line or "" for line in portion]) if rows is None else rows.take(len(portion))
            neighbours.add(portion, found)
    if rows is not None:
        rows.finish()
    if not neighbours.found:
        name = "standard input" if lines == STANDARD_INPUT else lines
        output.note(
            f"note: {name} has no line to look in{', only blank ones' * (neighbours.count > 0)}", quiet=faults.quiet
        )
    for text, best in zip(texts, neighbours.best(), strict=True):
        yield text, best if text else []


def _words(
    vocabulary: Vocabulary, words: Iterable[str], top: int, *, alone: bool, quiet: bool
) -> Iterator[tuple[str, Sequence[Found]]]:
    """Each word with the words most like it.

    A note says that a word is not known. Raises OptionError if it is `alone`, and after the last word if none is known.
    Other notes say what the tokens are if they are not words, and that there is no word.
    """
    noted = vocabulary.tokens == "words"
    read = known = unknown = 0
    hint = ""
    for word in words:
        found: Sequence[Found] = []
        read += 1
        try:
            found = vocabulary.nearest(word, top)
            known += 1
            if not noted:
                output.note(f"note: {_tokens_told(vocabulary, word, alone=alone)}", quiet=quiet)
                noted = True
        except OptionError as error:
            if alone:
                raise OptionError("TEXT", error.what, error.hint or WITH_LINES) from None
            if word:
                unknown, hint = unknown + 1, error.hint
                output.note(f"note: TEXT {error.what}", quiet=quiet)
        yield word, found
    if unknown and not known:
        what = (
            f"none of {unknown:,} is in the model's vocabulary" if unknown > 1 else "is not in the model's vocabulary"
        )
        raise OptionError("TEXT", what, hint or WITH_LINES)
    if not known:
        output.note(BLANK_TEXTS if read else NO_TEXT, quiet=quiet)


def _tokens_told(vocabulary: Vocabulary, word: str, *, alone: bool) -> str:
    """What is compared if the model's tokens are not words."""
    told = f"this model's tokens are {vocabulary.tokens}, and these are compared"
    count = vocabulary.count(word)
    if not alone:
        return f"{told}; a word of several has the mean of their vectors"
    return told if count == 1 else f"{told}; {quoted(word)} is {count} of them, and has the mean of their vectors"


def _write(answers: Iterable[tuple[str, Sequence[Found]]], *, alone: bool, json: bool) -> None:
    """Write what was found for each text."""
    for number, (text, found) in enumerate(answers, 1):
        if json:
            nearest = [{name: _readable(value) for name, value in each._asdict().items()} for each in found]
            output.write_json({"text": _readable(text), "nearest": nearest})
            continue
        start = "" if alone else f"{number}\t"
        output.write_lines([f"{start}{each.similarity:.6f}\t{each.shown}" for each in found])


def _readable(value: Any) -> Any:
    """A text for JSON, in which a byte that is not UTF-8 is U+FFFD; any other value as it is."""
    return to_utf8(value).decode("utf-8", "replace") if isinstance(value, str) else value
