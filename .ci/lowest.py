"""Print the lowest version of each library that pyproject.toml allows, as constraints: one `name==version` a line.

An argument `name==version` replaces a library's version: `torch==2.13.0` where only that build is at hand.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
LIBRARY = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[.*\])?(?:>=(?P<version>[0-9.]+))?")


def lowest(replaced: Sequence[str] = ()) -> list[str]:
    """The lines, those of optional libraries among them; documentation is not built with lowest versions.

    Raises ValueError for a library without a lowest version, or if `replaced` names another library.
    """
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    versions = {}
    for requirement in [*project["dependencies"], *extras["tune"], *extras["dev"]]:
        found = LIBRARY.match(requirement)
        if found is None or (found["version"] is None and found["name"] != project["name"]):
            raise ValueError(f"{PROJECT.name}: no lowest version in {requirement!r}")
        if found["name"] != project["name"]:
            versions[found["name"]] = found["version"]
    for line in replaced:
        name, _, version = line.partition("==")
        if name not in versions:
            raise ValueError(f"{line}: {name} is not a library of {PROJECT.name}")
        versions[name] = version
    return [f"{name}=={version}" for name, version in versions.items()]


if __name__ == "__main__":
    try:
        print("\n".join(lowest(sys.argv[1:])))
    except ValueError as error:
        sys.exit(f"error: {error}")
