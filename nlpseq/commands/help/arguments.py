"""Arguments of the wrong kind, or without the command or option that takes them: the command line to type instead."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from nlpseq.commands.help.usage import WrongUsage
from nlpseq.errors import CorpusError
from nlpseq.tasks import CLASSIFIER, COMMANDS, LANGUAGE_MODEL, TRANSLATOR
from nlpseq.text.addresses import ADDRESS, download, is_address
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.lines import has_unread

TASK_OF_KIND = {"text": LANGUAGE_MODEL, "labels": CLASSIFIER, "pairs": TRANSLATOR}


def seed_line(args: Sequence[str], context: Any) -> str:
    """The line of `nlpseq generate` whose arguments are a text, a file or a model; they go after an option or `<`."""
    options, words = split_line(args, context)
    path = context.command_path
    if len(words) == 1 and os.path.exists(words[0]):
        if os.path.isfile(words[0]) and not _is_model(words[0]):
            return f"{_joined(path, *options)} < {shlex.quote(words[0])}"
        has_model = any(option[0].partition("=")[0] in ("-m", "--model") for option in options)
        return f"{path} --help" if has_model else _joined(path, ["-m", words[0]], *options)
    seeds = [option for option in options if option[0].partition("=")[0] == "--seed"]
    texts = [option[1] if len(option) > 1 else option[0].partition("=")[2] for option in seeds]
    others = [option for option in options if option not in seeds]
    return _joined(path, ["--seed", " ".join([*texts, *words])], *others)


def training_line(args: Sequence[str]) -> str:
    """The line of `nlpseq train` with the task that its first corpus is for; empty if no argument names a corpus."""
    if task := next((arg for arg in args if arg in COMMANDS), None):
        rest = list(args)
        rest.remove(task)
        return _joined("nlpseq train", [task, *rest])
    corpus = next((arg for arg in args if _names_corpus(arg)), None)
    if corpus is None:
        return ""
    from nlpseq.text.checks.corpus import corpus_kind

    return _joined("nlpseq train", [TASK_OF_KIND[corpus_kind(corpus)].command, *args])


def _names_corpus(arg: str) -> bool:
    """Whether an argument names a corpus, or is spelled as a file."""
    from nlpseq.text.bundled import BUNDLED
    from nlpseq.text.collection import is_pattern
    from nlpseq.text.hub import HUB

    if arg in (STANDARD_INPUT, *BUNDLED) or arg.startswith(HUB) or os.path.exists(arg):
        return True
    return not arg.startswith("-") and ("/" in arg or is_pattern(arg) or Path(arg).suffix[1:2].isalpha())


def check_corpora(args: Sequence[str], context: Any) -> None:
    """Raises CorpusError or WrongUsage for corpora that a command cannot read as they are named; the hint can be typed.

    They are web addresses, two texts for a table of pairs, and standard input that `nlpseq corpus check` does not read.
    """
    _refuse_addresses(args, context)
    path, values = context.command_path, context.params
    if path == "nlpseq train translation":
        _refuse_two_texts(values["corpus"] or (), args, context)
    others = ("corpus", "source", "target", "labels", "pairs")
    if path == "nlpseq corpus check" and not any(map(values.get, others)) and has_unread():
        raise WrongUsage(path, "CORPUS is missing", input_line(path, args))


def input_line(path: str, args: Sequence[str]) -> str:
    """A command line with standard input as its corpus."""
    return _joined(path, [*args, STANDARD_INPUT])


def _refuse_addresses(args: Sequence[str], context: Any) -> None:
    """Raises CorpusError for corpora that are web addresses; the hint downloads them and names the files."""
    addresses, downloads, line = [], [], []
    for arg in args:
        option, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
        if is_address(value):
            command, value = download(value)
            addresses.append(arg.removeprefix(option + equals))
            downloads += [command] if command else []
        line.append(option + equals + value)
    if addresses:
        raise CorpusError(addresses[0], ADDRESS, " && ".join([*downloads, _joined(context.command_path, line)]))


def _refuse_two_texts(corpus: Sequence[str], args: Sequence[str], context: Any) -> None:
    """Raises CorpusError if the corpus of a translator is two texts that are no tables: a source and a target."""
    if len(corpus) == 2 and all(map(_is_plain_text, corpus)):
        source, target = corpus
        options, _ = split_line(args, context)
        hint = _joined(context.command_path, ["--source", source, "--target", target], *options)
        raise CorpusError(f"{source} and {target}", "they are texts, not tables of pairs", hint)


def _is_plain_text(name: str) -> bool:
    """Whether a file is a text and no table, by its suffix and its first line."""
    from nlpseq.text.formats import document_noun, read_text, split_lines
    from nlpseq.text.readers.fasttext import PREFIX
    from nlpseq.text.readers.rows import is_table

    if not os.path.isfile(name) or is_table(name) or document_noun(name):
        return False
    try:
        first = next(split_lines(read_text(name)), "")
    except CorpusError:  # found again, and told, when the file is read
        return False
    return "\t" not in first and PREFIX not in first


def split_line(args: Sequence[str], context: Any) -> tuple[list[list[str]], list[str]]:
    """The options of a command's arguments, each with its value if it takes one, and the other arguments."""
    parameters = context.command.get_params(context)
    named = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    takers = {flag for parameter in named if not parameter.is_flag for flag in parameter.opts}
    options: list[list[str]] = []
    words: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            words += rest
        elif arg.startswith("-") and arg != "-":
            options.append([arg, *islice(rest, 1)] if arg in takers else [arg])
        else:
            words.append(arg)
    return options, words


def _is_model(path: str) -> bool:
    from nlpseq.models.model_file import NAME

    return Path(path).suffix == Path(NAME).suffix


def _joined(path: str, *pieces: Sequence[str]) -> str:
    """A command's name and its arguments, quoted for a shell."""
    return " ".join([path, *(shlex.quote(word) for piece in pieces for word in piece)])
