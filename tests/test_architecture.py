"""The rules of the house: who may import whom, and what every file must have."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nlpseq"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A part may import from its own level, but only itself and what is named here, and from any lower level.
LEVELS = [
    {"commands"},
    {"timing"},
    {"training", "decoding", "evaluation", "insight"},
    {"models", "kernels"},
    {"native"},
    {"cells", "text"},
    {"arrays", "errors", "options"},
]
SAME_LEVEL = {
    ("training", "evaluation"),  # a run ends with its scores
    ("kernels", "models"),  # what can run a layer is described by the stack
    ("options", "errors"),  # an option's value may make no sense
}
NEVER_AT_ONCE = ("torch", "datasets", "rich", "sacrebleu", "pyarrow")
TRAINING_ROAD = (
    "nlpseq.training",
    "nlpseq.kernels",
    "nlpseq.timing",
    "nlpseq.commands.bench",
    "nlpseq.commands.training_display",
)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _imports(path: Path) -> set[str]:
    """Every module of the package that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "nlpseq")
    return {name for name in found if name.split(".")[0] == "nlpseq" and not name.startswith("nlpseq.__")}


def _level(part: str) -> int:
    return next(depth for depth, parts in enumerate(LEVELS) if part in parts)


def _parts() -> set[str]:
    return {_part(_name(path)) for path in MODULES} - {"", "__main__"}


def test_every_part_of_the_package_has_its_level() -> None:
    known = set().union(*LEVELS)
    assert _parts() <= known, f"no level for {_parts() - known}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_down(path: Path) -> None:
    own = _part(_name(path))
    for module in _imports(path):
        other = _part(module)
        if own in ("", "__main__") or other in ("", own):
            continue
        deeper = _level(own) < _level(other)
        assert deeper or (own, other) in SAME_LEVEL, f"{_name(path)} imports {module}"


def test_only_the_entry_imports_commands() -> None:
    outside = [path for path in MODULES if _part(_name(path)) not in ("commands", "__main__")]
    assert not [(_name(path), name) for path in outside for name in _imports(path) if _part(name) == "commands"]


def test_relative_imports_are_not_used() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), _name(path)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{_name(path)} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_public_function_says_what_it_does(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, f"{_name(path)}: {silent}"


def test_no_module_is_a_drawer_for_anything() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "manager", "misc")]


def test_functions_stay_short() -> None:
    """Sixty lines are the limit of the house, signature and docstring included."""
    long = [
        f"{_name(path)}.{node.name}: {node.end_lineno - node.lineno + 1}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno >= 60
    ]
    assert not long


def _running_road() -> list[str]:
    names = [_name(path) for path in MODULES]
    return [name for name in names if not name.startswith(TRAINING_ROAD) and name != "nlpseq.__main__"]


def test_the_running_road_starts_without_heavy_libraries() -> None:
    modules = [*_running_road(), "nlpseq.training.options"]
    program = (
        f"import sys\nfor name in {modules!r}:\n    __import__(name)\n"
        f"print(*[name for name in {NEVER_AT_ONCE!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "", f"imported at once: {done.stdout}"


def test_the_map_of_a_folder_names_its_files() -> None:
    for folder in {path.parent for path in MODULES} - {PACKAGE}:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
        if any(name in text for name in files):
            assert not {name for name in files if name not in text}, f"{folder.name}: its map is not whole"


def test_every_folder_is_in_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert folders <= set(listed)
