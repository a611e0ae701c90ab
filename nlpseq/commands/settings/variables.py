"""Variables of the environment: defaults of this machine for the options of all commands.

    NLPSEQ_DEVICE         the --device of commands that have one
    NLPSEQ_QUIET          the --quiet of commands that have one
    NLPSEQ_THREADS        threads of compiled code, of NumPy and of torch
    NLPSEQ_INSTRUCTIONS   see native/extension.py

An empty variable counts as unset. A device that a command does not have, such as `auto`, leaves its default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches

from nlpseq.commands.help.usage import did_you_mean
from nlpseq.commands.settings.declared import Declared
from nlpseq.commands.settings.layers import Layer, Value
from nlpseq.errors import ConfigError

DEVICE, QUIET, THREADS, INSTRUCTIONS = "NLPSEQ_DEVICE", "NLPSEQ_QUIET", "NLPSEQ_THREADS", "NLPSEQ_INSTRUCTIONS"
KNOWN = (DEVICE, QUIET, THREADS, INSTRUCTIONS)
DEVICES = ("auto", "cpu", "cuda")
SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
MOST_THREADS = 1024


def read_variables(command: Declared, environment: Mapping[str, str] = os.environ) -> Layer:
    """The values that variables set for a command. Raises ConfigError for one that it cannot have."""
    values: Layer = {}
    if device := _text(DEVICE, environment):
        if device not in DEVICES:
            what = f"must be one of {', '.join(DEVICES)}, was {device!r}"
            raise ConfigError(DEVICE, what, did_you_mean(device, DEVICES) or f"unset {DEVICE}")
        if "device" in command.settings and device in command.settings["device"].choices:
            values["device"] = Value(device, DEVICE, "")
    if quiet := _text(QUIET, environment):
        if quiet not in SWITCH:
            raise ConfigError(QUIET, f"must be 1 or 0, was {quiet!r}", f"export {QUIET}=1")
        if "quiet" in command.settings:
            values["quiet"] = Value(SWITCH[quiet], QUIET, "")
    return values


def number_of_threads(environment: Mapping[str, str] = os.environ) -> int | None:
    """The number of threads that NLPSEQ_THREADS sets, or None. Raises ConfigError if it is no such number."""
    text = _text(THREADS, environment)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_THREADS):
        raise ConfigError(THREADS, f"must be a whole number from 1 to {MOST_THREADS}, was {text!r}", f"unset {THREADS}")
    return int(text)


def misspelled(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables with a name that resembles one of ours, and that one."""
    ours = {name: name for name in environment if name.startswith("NLPSEQ_") and name not in KNOWN}
    near = {name: get_close_matches(name, KNOWN, 1, 0.85) for name in ours}
    return {name: found[0] for name, found in near.items() if found}


def with_variable(help: str, option: str) -> str:
    """The help of an option with the variable that sets its default, if there is one."""
    variable = {"device": DEVICE, "quiet": QUIET}.get(option)
    return f"{help} [variable: {variable}]" if variable else help


def _text(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name, "").strip().lower()
