"""Write the pages of docs/ that are made from the program: options.md, python-reference.md and map.md.

python docs/tools/generate.py            writes them
python docs/tools/generate.py --check    writes nothing; the status is 1 if a page is out of date
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, ForwardRef

sys.path.insert(0, str(Path(__file__).parent))

import program

import nlpseq

DOCS = Path(__file__).parents[1]
PACKAGE = DOCS.parent / "nlpseq"
NOTE = "<!-- Written by docs/tools/generate.py: change the program, then run `make docs`. -->"


RECORDS = (
    ("nlpseq.decoding.classification", "Decision"),
    ("nlpseq.evaluation.line_scores", "LineScore"),
    ("nlpseq.decoding.generation", "TextStream"),
    ("nlpseq.decoding.translation", "Translation"),
    ("nlpseq.models.attention", "Alignment"),
    ("nlpseq.insight.words", "WordWeights"),
    ("nlpseq.evaluation.classifier_report", "ClassifierReport"),
    ("nlpseq.evaluation.floors.baseline", "Report"),
    ("nlpseq.evaluation.floors.baseline", "Baseline"),
    ("nlpseq.training.loop", "Progress"),
)


def options_page() -> str:
    """Every command with its options, from the program's own help."""
    lines = [
        NOTE,
        "# Options of every command",
        "",
        "The same text as `nlpseq COMMAND --help-all`. What all commands have in common is in",
        "[The command line](command-line.md). In Python an option has the same name with underscores:",
        "`--hidden-size 512` is `hidden_size=512`.",
        "",
    ]
    verbs = list(program.verbs())
    lines += [f"- [`{verb.name}`](#{_anchor(verb.name)})" for verb in verbs]
    for verb in verbs:
        lines += ["", f"## {verb.name}", "", "```text", verb.usage, "```", "", *_help(verb.help)]
        for heading in dict.fromkeys(option.heading for option in verb.options):
            lines += ["", f"**{heading}**", "", f"| {heading.lower()} | | default |", "|---|---|---|"]
            lines += [_row(option) for option in verb.options if option.heading == heading]
    return "\n".join(lines) + "\n"


def _row(option: program.Option) -> str:
    spelling = option.spelling.replace("|", "\\|")
    return f"| `{spelling}` | {_plain(option.help)} | {_plain(option.default)} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in ("\\", "*", "_", "<", "|"):
        text = text.replace(mark, f"\\{mark}")
    return text


def _help(text: str) -> Iterator[str]:
    """A command's help as Markdown: an indented paragraph is a block of text."""
    for paragraph in text.replace("\b\n", "").replace("\b", "").split("\n\n"):
        if paragraph.startswith("  "):
            yield from ("```text", inspect.cleandoc(paragraph), "```", "")
        else:
            yield from (_plain(" ".join(paragraph.split())), "")


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def reference_page() -> str:
    """Everything in `nlpseq.__all__`, from signatures and docstrings."""
    lines = [
        NOTE,
        "# Python reference",
        "",
        "Everything that `import nlpseq` offers. [Python](python.md) shows it in use.",
        "",
    ]
    names = sorted(nlpseq.__all__, key=lambda name: (_kind(getattr(nlpseq, name)), name))
    for name in names:
        value = getattr(nlpseq, name)
        shown = f"`nlpseq.{name}`" if _kind(value) == 2 else f"[`nlpseq.{name}`](#nlpseq{name.lower()})"
        lines.append(f"- {shown}: {_summary(value)}")
    for name in names:
        lines += ["", f"## nlpseq.{name}", "", *_described(name, getattr(nlpseq, name))]
    lines += ["", "## Records", "", "What methods return, and what `progress` is called with.", *_records()]
    return "\n".join(lines) + "\n"


def _kind(value: Any) -> int:
    """Functions first, then classes, then the rest."""
    return 0 if inspect.isfunction(value) else 1 if inspect.isclass(value) else 2


def _summary(value: Any) -> str:
    if _kind(value) == 2:
        return "the version, a string"
    first = (inspect.getdoc(value) or "").split("\n\n")[0]
    return " ".join(first.split())


def _described(name: str, value: Any) -> Iterator[str]:
    if _kind(value) == 2:
        yield f"`{value!r}`: {_summary(value)}."
        return
    own = inspect.isclass(value) and "__init__" not in vars(value) and not dataclasses.is_dataclass(value)
    yield from _code(name if own else _call(name, value))
    yield from _docstring(value)
    if inspect.isclass(value):
        for method, member in _members(value):
            if isinstance(member, property):
                yield from ("", f"### {name}.{method}", "", *_docstring(member.fget))
            else:
                function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
                yield from ("", f"### {name}.{method}", "", *_code(_call(method, function)), *_docstring(function))


def _members(value: Any) -> Iterable[tuple[str, Any]]:
    """Public methods and properties in the order of their definition, those of base classes in this package first."""
    found: dict[str, Any] = {}
    for base in reversed(value.__mro__):
        if base.__module__.startswith("nlpseq"):
            found.update(vars(base))
    kinds = (property, classmethod, staticmethod)
    return [
        (name, member)
        for name, member in found.items()
        if not name.startswith("_") and (isinstance(member, kinds) or inspect.isfunction(member))
    ]


def _call(name: str, value: Any) -> str:
    """How a function is called, one parameter a line if that is long."""
    signature = inspect.signature(value)
    parts: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        parts.append(_parameter(parameter))
    returned = signature.return_annotation
    end = "" if returned in (signature.empty, None, "None") else f" -> {_type(returned)}"
    text = f"{name}({', '.join(parts)}){end}"
    return text if len(text) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        default = ""
    elif inspect.isfunction(parameter.default):
        default = f" = {parameter.default.__name__}"
    else:
        default = f" = {parameter.default!r}".replace("'", '"')
    return f"{stars}{parameter.name}: {_type(parameter.annotation)}{default}"


def _type(annotation: Any) -> str:
    """An annotation as it is written in the code."""
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _code(text: str) -> list[str]:
    return ["```text", text, "```", ""]


def _docstring(value: Any) -> Iterator[str]:
    """A docstring's paragraphs; an indented one is shown as it is."""
    for paragraph in (inspect.getdoc(value) or "").split("\n\n"):
        if paragraph.startswith("    ") or "\n    " in paragraph:
            yield from ("```text", inspect.cleandoc(paragraph), "```", "")
        else:
            yield from (paragraph, "")


def _records() -> Iterator[str]:
    """The records that methods return: their fields, and the properties and methods that they add."""
    for module, name in RECORDS:
        value = getattr(import_module(module), name)
        yield from ("", f"### {name}", "", *_docstring(value))
        fields = getattr(value, "__annotations__", {})
        for field, kind in fields.items():
            yield f"- `{field}`: `{_type(kind)}`"
        for member, found in _members(value):
            if isinstance(found, property):
                kind = inspect.signature(found.fget).return_annotation if found.fget else ""
                yield f"- `{member}`: `{kind}`. {_summary(found.fget)}"
            elif not fields:
                yield f"- `{_call(member, found)}`. {_summary(found)}"


def map_page() -> str:
    """Every file of the package with the first sentence of its docstring, room by room."""
    lines = [
        NOTE,
        "# A map of the code",
        "",
        "Each folder of the package, and each file with its one job. [Contributing](../CONTRIBUTING.md) says",
        "which folder may import which, and where a change goes.",
        "",
    ]
    for room in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
        heading = room.relative_to(PACKAGE.parent).as_posix()
        lines += ["", f"## {heading}", "", _plain(_first_sentence(room / "__init__.py")), ""]
        files = [path for path in sorted(room.glob("*.py")) if path.name != "__init__.py"]
        lines += [f"- `{path.name}`: {_plain(_first_sentence(path))}" for path in files]
    return "\n".join(lines) + "\n"


def _first_sentence(path: Path) -> str:
    """The first paragraph of a file's docstring, up to the end of its first sentence."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.])\s(?=[A-Z])", paragraph, maxsplit=1)[0]


PAGES = {"options.md": options_page, "python-reference.md": reference_page, "map.md": map_page}


def generated(name: str) -> str:
    """A page's text as it should be, without blank lines that follow each other."""
    lines = PAGES[name]().split("\n")
    kept = [line for above, line in zip([*lines[:1], *lines], lines, strict=False) if line or above]
    return "\n".join(kept).rstrip("\n") + "\n"


def main() -> int:
    """Write or check every page."""
    status = 0
    for name in PAGES:
        text, path = generated(name), DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv:
            print(f"docs/{name} is out of date: run `make docs`", file=sys.stderr)
            status = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
