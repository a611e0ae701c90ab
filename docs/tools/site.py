"""A hook of mkdocs: pages outside docs/ that docs/ links to become pages of the site, so that their links are checked.

On a code host the pages of docs/ link to `../benchmarks/README.md` and so on. On the site such a page is beside them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
OUTSIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/*.md",
    "benchmarks/*.svg",
    "corpora/README.md",
    "examples/README.md",
)
TARGET = re.compile(r"(\]\()((?!\w+:|#)[^)\s]+)(\))")
TOUR = "tour.md"  # the name of the README on the site, whose README.md would be its index


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, TOUR if name == "README.md" else name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **rest: Any) -> str:
    """Turn links between the checkout's files into links between the site's pages."""
    uri = page.file.src_uri
    inside = (ROOT / "docs" / uri).exists()
    own = ROOT / "docs" / uri if inside else ROOT / ("README.md" if uri == TOUR else uri)

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = match[2].partition("#")
        path = (own.parent / target).resolve()
        if not path.is_relative_to(ROOT):
            return match[0]
        name = path.relative_to(ROOT).as_posix()
        name = TOUR if name == "README.md" else name.removeprefix("docs/")
        if path.is_dir():
            name = f"{name}/README.md"
        return f"{match[1]}{'../' * uri.count('/')}{name}{mark}{anchor}{match[3]}"

    return TARGET.sub(moved, markdown)
