"""The rules of the house: which module may import which, what every file must have, and how large it may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE, TESTS = ROOT / "nlpseq", ROOT / "tests"
MODULES, TEST_FILES = sorted(PACKAGE.rglob("*.py")), sorted(TESTS.rglob("*.py"))

# The rooms of the package, highest level first. A room imports itself and rooms of lower levels.
LEVELS = [
    {"commands"},
    {"timing"},
    {"api"},
    {"training"},
    {"evaluation", "insight", "vectors"},
    {"decoding"},
    {"kernels"},
    {"models"},
    {"native"},
    {"cells", "text"},
    {"device", "files", "options", "workers"},
    {"paths"},
    {"arrays", "errors", "process", "tasks"},  # the table of tasks names code and imports none of it
]
NEVER_AT_ONCE = ("torch", "datasets", "rich", "sacrebleu", "pyarrow")
NEITHER_ON_THE_FRONT_DOOR = ("numpy", *NEVER_AT_ONCE)
TRAINING_ROAD = (
    "nlpseq.training",
    "nlpseq.kernels",
    "nlpseq.timing",
    "nlpseq.api.training",
    "nlpseq.commands.bench",
    "nlpseq.commands.training.bar",
)

LONGEST_FUNCTION = 60  # lines, signature and docstring included
LONG_FUNCTION, LONG_FUNCTIONS = 40, 5  # lines, and the number of functions that may have more
COMPLEX_FUNCTION, COMPLEX_FUNCTIONS = 12, 10  # paths, and the number of functions that may have more
LONG_FILE, LONG_FILES = 300, 6  # lines, and the number of files that may have more
FILTER_FILE = 90  # lines: the file of a line filter's command has fewer
DRAWERS = ("utils", "util", "helpers", "common", "manager", "misc", "base")
NAMED_TUPLE = {"_asdict", "_replace", "_fields", "_make", "_field_defaults"}  # public in spite of the underscore


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _imports(path: Path) -> set[str]:
    """Every module of the package that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "nlpseq":
            found.update(f"nlpseq.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "nlpseq" and not name.startswith("nlpseq.__")}


def _functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in MODULES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef):
                yield f"{_name(path)}.{node.name}", node


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _assert_none(faults: Iterable[str], most: int = 0) -> None:
    """No more than `most` faults; all of them are told."""
    told = sorted(faults)
    if len(told) > most:
        pytest.fail("\n    ".join([f"{len(told)} found, at most {most} expected:", *told]), pytrace=False)


def test_every_room_has_its_level() -> None:
    rooms = {_room(_name(path)) for path in MODULES} - {"", "__main__"}
    _assert_none(rooms - set().union(*LEVELS))


def test_imports_point_down() -> None:
    level = {room: depth for depth, rooms in enumerate(LEVELS) for room in rooms}
    faults = []
    for path in MODULES:
        own = _room(_name(path)) or "api"
        if own == "__main__":
            continue
        for module in sorted(_imports(path)):
            other = _room(module)
            other = other if other in level else "api"  # what the front door offers
            if own != other and level[own] >= level[other]:
                faults.append(f"{_name(path)} imports {module}")
    _assert_none(faults)


def test_relative_imports_are_not_used() -> None:
    nodes = ((path, node) for path in MODULES for node in ast.walk(_tree(path)))
    _assert_none(_name(path) for path, node in nodes if isinstance(node, ast.ImportFrom) and node.level)


def test_every_module_says_what_it_is() -> None:
    _assert_none(_name(path) for path in MODULES if not ast.get_docstring(_tree(path)))


def test_every_public_function_says_what_it_does() -> None:
    silent = [
        f"{_name(path)}.{node.name}"
        for path in MODULES
        for node in _tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    _assert_none(silent)


def test_no_module_is_a_drawer_for_anything() -> None:
    _assert_none(_name(path) for path in MODULES if path.stem in DRAWERS)


def _lines(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_stay_short() -> None:
    lines = {f"{name}: {_lines(node)} lines": _lines(node) for name, node in _functions()}
    _assert_none(told for told, count in lines.items() if count > LONGEST_FUNCTION)
    _assert_none((told for told, count in lines.items() if count > LONG_FUNCTION), LONG_FUNCTIONS)


def _complexity(node: ast.AST) -> int:
    """The cyclomatic complexity of a function, counted as ruff's rule C901 counts it."""
    count = int(isinstance(node, ast.If | ast.For | ast.While | ast.ExceptHandler | ast.FunctionDef))
    if isinstance(node, ast.For | ast.While | ast.Try) and node.orelse:
        count += 1
    if isinstance(node, ast.Match):
        last = node.cases[-1]
        irrefutable = last.guard is None and isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
        count += len(node.cases) - irrefutable
    inner = (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
    return count + sum(map(_complexity, inner))


def test_few_functions_are_complex() -> None:
    counts = {f"{name}: {_complexity(node)}": _complexity(node) for name, node in _functions()}
    _assert_none((told for told, count in counts.items() if count > COMPLEX_FUNCTION), COMPLEX_FUNCTIONS)


def test_few_files_are_long() -> None:
    lines = {path: len(_text(path).splitlines()) for path in MODULES}
    _assert_none((f"{_name(path)}: {count} lines" for path, count in lines.items() if count > LONG_FILE), LONG_FILES)


def test_the_command_of_a_line_filter_is_short() -> None:
    paths = [PACKAGE / "commands" / f"{name}.py" for name in ("translate", "classify", "score", "embed")]
    lines = {path.name: len(_text(path).splitlines()) for path in paths}
    _assert_none(f"{name}: {count} lines" for name, count in lines.items() if count >= FILTER_FILE)


def _imported_at_once(modules: list[str], unwanted: tuple[str, ...]) -> list[str]:
    """Which of the modules, imported one after the other, is the first to import each of the unwanted."""
    program = (
        f"import sys\nunwanted = set({unwanted!r})\nfor module in {modules!r}:\n    __import__(module)\n"
        "    for name in sorted(unwanted & set(sys.modules)):\n        print(module, 'imports', name)\n"
        "        unwanted.remove(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()


def test_the_running_road_starts_without_heavy_libraries() -> None:
    running = [_name(path) for path in MODULES if not _name(path).startswith(TRAINING_ROAD)]
    modules = [*(name for name in running if name != "nlpseq.__main__"), "nlpseq.training.options"]
    _assert_none(_imported_at_once(modules, NEVER_AT_ONCE))


def test_the_front_door_imports_no_library() -> None:
    _assert_none(_imported_at_once(["nlpseq"], NEITHER_ON_THE_FRONT_DOOR))


def test_every_folder_is_in_the_wheel() -> None:
    listed = tomllib.loads(_text(ROOT / "pyproject.toml"))["tool"]["setuptools"]["packages"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    _assert_none(folders - set(listed))


def test_tests_mirror_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TEST_FILES}
    _assert_none(str(folder) for folder in folders if not (PACKAGE / folder).is_dir())


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in TEST_FILES if path.name != "conftest.py"]
    _assert_none({name for name in names if names.count(name) > 1})


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != "" and name not in NAMED_TUPLE


def _defined(tree: ast.Module) -> set[str]:
    """Private names that a file gives to functions, classes, variables and attributes."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return set(filter(_is_private, found))


def _private_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each private name of another file: imported, read, or patched by a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, name) for name in names if _is_private(name))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _is_private(node.value) and node.value.isidentifier():
                yield node.lineno, node.value
            for dotted in re.findall(r"nlpseq(?:\.\w+)+", node.value):
                yield from ((node.lineno, name) for name in dotted.split(".") if _is_private(name))


def test_tests_use_no_private_names() -> None:
    """What a test needs is public: another library's names, with which it may have to work, are not asked about."""
    folders = (PACKAGE, TESTS, ROOT / "benchmarks", ROOT / "corpora", ROOT / "examples")
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    ours = set().union(*(_defined(_tree(path)) for path in sources))
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in TEST_FILES
        for line, name in _private_names(_tree(path))
        if name in ours
    ]
    _assert_none(found)
