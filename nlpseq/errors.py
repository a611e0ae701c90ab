"""Everything a user can do wrong, as a tree of exceptions.

    NlpseqError         where, what is wrong and what was found, and a hint to type
      CorpusError       a text that cannot be read or is not what was expected
      TokeniserError    a tokeniser that cannot be made or is damaged
      ModelFileError    a model file that is missing, damaged, foreign or newer
      RunError          a run folder or a training run that cannot go on
      BackendError      a kernel, device or precision that cannot run here
      TaskError         a method that only models of another task have
      PathError         a path that may not be looked at: a CorpusError, a ModelFileError and a RunError at once
      OptionError       an option's value, or a combination of options, that makes no sense
      ConfigError       a run file or a variable that cannot be read, or that sets an option to what it cannot be

The library raises them where the fault is known, and the command line catches them in one place. The price is that
every message is written out where it is raised, so that it can name the file, the line and the value.

Interrupted is not in the tree: it is not a mistake, and no handler of errors may swallow it, as with KeyboardInterrupt.
"""

from __future__ import annotations

from typing import Any


class NlpseqError(Exception):
    """A mistake that the user can mend.

    `where` names the file, option or command. `what` says in one sentence what is wrong and what was found. `hint` is
    a command or flag to type, or empty.
    """

    exit_status = 1

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """All three parts, so that an error survives pickling, as between processes."""
        return type(self), (self.where, self.what, self.hint)


class CorpusError(NlpseqError):
    """A text that cannot be read or is not what was expected."""


class TokeniserError(NlpseqError):
    """A tokeniser that cannot be made, or whose bytes are damaged."""


class ModelFileError(NlpseqError):
    """A model file that is missing, damaged, foreign or newer than this version."""


class RunError(NlpseqError):
    """A run folder, or a training run, that cannot go on."""


class BackendError(NlpseqError):
    """A kernel, a device or a precision that cannot run here."""


class TaskError(NlpseqError, AttributeError):
    """A method that this model does not have and a model of another task has."""


class PathError(CorpusError, TokeniserError, ModelFileError, RunError):
    """A path that may not be looked at, because a folder is closed to the user or the path is too long.

    It is an error of every kind that has to do with files, because what lies there is not known.
    """


class OptionError(NlpseqError):
    """An option's value, or a combination of options, that makes no sense: a usage error.

    `where` is the parameter's name, as `hidden_size` or `steps and minutes`; the command line shows it as its flag.
    """

    exit_status = 2


class ConfigError(NlpseqError):
    """A run file or a variable of the environment that cannot be read, or that sets an option to what it cannot be.

    `where` names the file or the variable, and `what` begins with the table and the key, as `[training] steps`.
    """


class Interrupted(BaseException):
    """A signal ended the work, after everything was saved; the exit status is 128 + the signal's number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
