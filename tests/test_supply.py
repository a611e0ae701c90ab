"""What is installed with the package: declared libraries, their lowest versions, and the actions that test them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOWEST = ROOT / ".ci" / "lowest.py"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _requirements(*lists: list[str]) -> dict[str, Requirement]:
    """The libraries of lists of requirements, by name, without the package itself."""
    found = [Requirement(text) for texts in lists for text in texts]
    return {canonicalize_name(each.name): each for each in found if each.name != PROJECT["name"]}


def _lowest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(LOWEST), *arguments], capture_output=True, text=True, cwd="/")


def test_lowest_versions_are_those_of_pyproject() -> None:
    """Each is allowed, and nothing below it is."""
    declared = _requirements(PROJECT["dependencies"], EXTRAS["tune"], EXTRAS["dev"])
    constraints = {Requirement(line).name: Requirement(line) for line in _lowest().stdout.splitlines()}
    assert {canonicalize_name(name) for name in constraints} == set(declared)
    for name, constraint in constraints.items():
        (exact,) = constraint.specifier
        allowed = declared[canonicalize_name(name)].specifier
        assert exact.operator == "=="
        assert allowed.contains(exact.version)
        assert not allowed.contains(f"{exact.version}.dev0", prereleases=True)


def test_another_version_of_a_library_is_taken() -> None:
    usual, other = _lowest().stdout.splitlines(), _lowest("torch==2.13.0").stdout.splitlines()
    assert [line for line in other if line not in usual] == ["torch==2.13.0"]
    assert len(other) == len(usual)


def test_a_library_that_is_not_declared_is_refused() -> None:
    done = _lowest("tensorflow==2.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: tensorflow==2.0: tensorflow is not a library of pyproject.toml\n"


def test_every_imported_library_is_declared() -> None:
    """Triton comes with torch's builds for CUDA, and nothing else can use it."""
    modules = set()
    for path in (ROOT / "nlpseq").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    outside = modules - set(sys.stdlib_module_names) - {"nlpseq", "triton"}
    installed = packages_distributions()
    libraries = {canonicalize_name(name) for module in outside for name in installed[module]}
    declared = set(_requirements(PROJECT["dependencies"], EXTRAS["tune"]))
    assert libraries == declared


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read_and_use_pinned_actions(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^ *permissions:\n(.*)\n(.*)", text, re.M) == [("  contents: read", "")]
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    for action in uses:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)
    assert "secrets" not in text
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
