"""Web addresses that are named as a corpus. They are not read: a hint has the command that downloads the file."""

from __future__ import annotations

import re
import shlex

from nlpseq.text.hub import HUB

ADDRESS = "it is a web address, and must be a file"

_ADDRESS = re.compile(r"(?:https?|ftp)://\S+", re.IGNORECASE)
_HUB = re.compile(r"https?://(?:www\.)?huggingface\.co/datasets/([^/?#]+(?:/[^/?#]+)?)", re.IGNORECASE)


def is_address(name: str) -> bool:
    """Whether a name is a web address: http, https or ftp."""
    return _ADDRESS.fullmatch(name) is not None


def download(address: str) -> tuple[str, str]:
    """The command that downloads a web address, quoted for a shell, and the name of the file that it writes.

    A data set of the hub needs no download: the command is empty, and the name is `hf:NAME`.
    """
    if match := _HUB.match(address):
        return "", HUB + match[1]
    path = re.split("[?#]", address.partition("://")[2])[0]
    file = path.rpartition("/")[2] if "/" in path else ""
    quoted = shlex.quote(address)
    return (f"curl -LO {quoted}", file) if file else (f"curl -L {quoted} -o page.html", "page.html")
