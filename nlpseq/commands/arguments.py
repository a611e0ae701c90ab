"""Whether an argument of a filter is a text or a file; a mistyped file name is not answered as if it were a text.

So an argument that is probably a path and names no file is refused: it starts as a path, its folder exists, or it ends
as the name of a file that is read. A text such as `and/or` does not.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from nlpseq.errors import CorpusError, PathError
from nlpseq.models.model_file import NAME as MODEL_FILE
from nlpseq.paths import exists, is_endless
from nlpseq.text.addresses import is_address
from nlpseq.text.compression import compression_of, read_blocks
from nlpseq.text.encodings import OTHER_MARKS, iconv_command

EVERY_BYTE = "nlpseq tokenize"  # the commands that read bytes in any encoding
LONGEST_NAME = 255  # bytes: a longer argument is a text, whatever it looks like
LOOKED_AT = 1 << 16  # bytes of a file that tell what it is
ALIKE = 0.75  # how alike a mistyped name and a file's name are; 1: equal

MODEL = Path(MODEL_FILE).suffix
UNPACKED = {  # files without lines of text, and the command that writes their text
    **dict.fromkeys((".zip", ".epub", ".docx"), "nlpseq corpus show {}"),
    ".parquet": "nlpseq corpus show --text-column NAME {}",
    ".pdf": "pdftotext {} -",
}
PAGES = (".html", ".htm", ".xhtml")  # markup, which is read line by line
STARTS = ("/", "./", "../", "~")  # of a path
SUFFIXES = {*UNPACKED, *PAGES, MODEL, ".gz", ".xz", ".zst", ".bz2", ".log", ".xml"}
SUFFIXES |= {".txt", ".text", ".md", ".tsv", ".csv", ".json", ".jsonl", ".ndjson"}


def is_text(argument: str, command: str, *, objects: bool = False) -> bool:
    """Whether an argument is a text, or an object, and not the path of a file or `-`, standard input.

    `command` is for hints. Raises CorpusError for a folder, a model, a file without lines, a file that may not be
    read or is UTF-16, a web address, and for what is probably a path but names no file.
    """
    if argument == "-":
        return False
    if _leads_somewhere(argument):
        _check_file(argument, command)
        return False
    if objects and argument.startswith("{"):
        return True
    if is_address(argument):
        hint = f"curl -L {shlex.quote(argument)} | {command}; {_as_text(argument, command)}"
        raise CorpusError(argument, "this is a web address, not a file", hint)
    if _is_path(argument):
        near = nearest_file(argument)
        if near or _is_probably_path(argument):
            hint = f"did you mean {shlex.quote(near)}? " if near else ""
            raise CorpusError(argument, "there is no such file", f"{hint}{_as_text(argument, command)}")
    return True


def _leads_somewhere(argument: str) -> bool:
    """Whether an argument is a path that something is at. Raises PathError for what could be one, but is closed."""
    try:
        return exists(argument)
    except PathError:
        if _is_path(argument):
            raise
        return False


def _is_path(argument: str) -> bool:
    """Whether an argument could be a path: short, without spaces, with a folder or a suffix."""
    spaced = any(character.isspace() for character in argument)
    return len(argument) <= LONGEST_NAME and not spaced and bool("/" in argument or Path(argument).suffix)


def _is_probably_path(argument: str) -> bool:
    """Whether an argument with a folder or a suffix is a path rather than a text such as `yes/no`."""
    folder, slash, _ = argument.rpartition("/")
    in_folder = bool(slash) and (argument.startswith(STARTS) or os.path.isdir(folder))
    return in_folder or Path(argument).suffix.lower() in SUFFIXES


def _check_file(path: str, command: str) -> None:
    """Raises CorpusError if what lies at a path cannot be read as lines."""
    quoted, suffix = shlex.quote(path), Path(path).suffix.lower()
    if suffix == MODEL or os.path.isfile(os.path.join(path, MODEL_FILE)):
        raise CorpusError(path, "this is a model, not a text", f"{command} -m {quoted}")
    if os.path.isdir(path):
        hint = f"{command} {shlex.quote(path.rstrip('/'))}/*; {_as_text(path, command)}"
        raise CorpusError(path, "this is a folder, not a file", hint)
    if is_endless(path):
        raise CorpusError(path, "this is a device, not a file", f"head -c 1000 {quoted} | {command}")
    if suffix in UNPACKED:
        raise CorpusError(path, f"a {suffix} file has no lines", f"{UNPACKED[suffix].format(quoted)} | {command}")
    if not os.access(path, os.R_OK):
        raise CorpusError(path, "it cannot be read: Permission denied", f"chmod u+r {quoted}")
    if not command.startswith(EVERY_BYTE) and (encoding := _other_encoding(path)):
        raise CorpusError(path, f"this is {encoding}, a text is UTF-8", iconv_command(path, encoding))


def _other_encoding(path: str) -> str:
    """UTF-16 or UTF-32 if a file starts with a mark of it, else an empty text."""
    start = first_bytes(path)
    return next((encoding for mark, encoding in OTHER_MARKS.items() if start.startswith(mark)), "")


def first_bytes(path: str) -> bytes:
    """The first bytes of a file, decompressed; none of a named pipe, which is not read, and of what cannot be read."""
    if not os.path.isfile(path):
        return b""
    try:
        if compression_of(path):
            return next(read_blocks(path), b"")
        with open(path, "rb") as file:
            return file.read(LOOKED_AT)
    except (CorpusError, OSError):  # found again, and told, when the lines are read
        return b""


def _as_text(argument: str, command: str) -> str:
    """A hint: how an argument that looks like a path is passed as a text."""
    return f"as a text: echo {shlex.quote(argument)} | {command}"


def nearest_file(path: str) -> str:
    """The file in a mistyped path's folder with the most similar name, or an empty text."""
    from difflib import get_close_matches

    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except (OSError, ValueError):
        return ""
    near = get_close_matches(name, names, 1, ALIKE)
    return os.path.join(folder, near[0]) if near else ""
