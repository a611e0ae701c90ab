"""The program `nlpseq`: its commands by name, and the one place where errors and signals are handled.

A command's module is imported when the command is asked for, so that no command pays for another's libraries.
The library raises exceptions; only this file turns them into an exit status:

    0     done, or the reader of standard output has gone
    1     a mistake that the user can mend (NlpseqError), reported in one sentence with a hint
    2     wrong usage
    130   Ctrl-C
    143   SIGTERM
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from os import PathLike, fsdecode
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from nlpseq import __version__, process
from nlpseq.commands import output
from nlpseq.commands.flags import SETTINGS
from nlpseq.commands.help.usage import UsageError, explained
from nlpseq.commands.parsing import Group
from nlpseq.commands.settings.variables import number_of_threads
from nlpseq.errors import BackendError, Interrupted, NlpseqError, OptionError
from nlpseq.files import FULL
from nlpseq.options import as_flags
from nlpseq.text.lines import ReaderGone, write_bytes

COMMANDS = {
    "train": "train a model of your own text",
    "tune": "search for better options under a clock",
    "distil": "train a small model from large ones",
    "generate": "continue a text, or make one up",
    "score": "how likely each line of a text is",
    "translate": "translate each line of a text",
    "classify": "the label of each line of a text",
    "embed": "the vector of each line of a text",
    "nearest": "the lines, or the words, that are most like a text",
    "evaluate": "how good a model is on a text",
    "compare": "which model is better, and by how much",
    "tokenize": "train a tokeniser, or use one as a filter",
    "corpus": "list, show and check corpora",
    "inspect": "what a model file contains, and what a model looks at",
    "runs": "list training runs: task, corpus, steps, scores",
    "bench": "how fast this machine runs models, beside torch.nn and NumPy",
}


class Program(Group):
    """The commands of the table, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands' names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported now, or None."""
        if cmd_name not in COMMANDS:
            return None
        if (threads := number_of_threads()) is not None:
            process.use_threads(threads)
        elif cmd_name != "bench":
            process.leave_busy_cores(
                has_threads=cmd_name in ("classify", "distil", "embed", "nearest", "train", "tune")
            )
        with process.ending_at_once():
            module = import_module(f"nlpseq.commands.{cmd_name}")
        return typer.main.get_command(module.app)

    def command_rows(self, ctx: Any) -> list[tuple[str, str]]:
        """The table; no command is imported for it."""
        return list(COMMANDS.items())

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """The commands, or the program's own flags, that start with `incomplete`; no command is imported for it."""
        from typer.core import CompletionItem  # type: ignore[attr-defined]

        named = [CompletionItem(name, help=help) for name, help in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *super(TyperGroup, self).shell_complete(ctx, incomplete)]

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse the program's own arguments."""
        with _output_may_fail():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _output_may_fail():
            return super().invoke(ctx)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the program; with `standalone_mode` it ends in SystemExit, else its status is returned."""
        status = self._run(args, extra)
        return sys.exit(status) if standalone_mode else status

    def _run(self, args: tuple[Any, ...], extra: dict[str, Any]) -> int:
        try:
            result = super().main(*args, **{**extra, "standalone_mode": False})
        except ReaderGone:
            return 0
        except NlpseqError as error:
            output.show_fault(f"{_where(error)}: {error.what}", error.hint)
            return error.exit_status
        except UsageError as error:
            fault = explained(error, error.ctx)
            output.show_fault(str(fault), fault.hint)
            return fault.exit_status
        except Interrupted as interruption:
            return 128 + interruption.signal_number
        except (KeyboardInterrupt, typer.Abort):
            return 128 + signal.SIGINT
        except MemoryError:
            output.show_fault("nlpseq: there is not enough memory for this")
            return 1
        except OSError as error:
            output.show_fault(*_fault_of_system(error))
            return 1
        return result if isinstance(result, int) else 0


def _fault_of_system(error: OSError) -> tuple[str, str]:
    """What the system refused, and a hint, for an error that no reader or writer turned into one of ours."""
    name = error.filename if isinstance(error.filename, str | bytes | PathLike) else "nlpseq"
    hint = "free some space on the disk, then run the command again" if error.errno in FULL else ""
    return f"{fsdecode(name)}: {error.strerror or error}", hint


def _where(error: NlpseqError) -> str:
    """What an error is about; a parameter is shown as its flag."""
    return as_flags(error.where) if isinstance(error, OptionError | BackendError) else error.where


@contextmanager
def _output_may_fail() -> Iterator[None]:
    """Raise ReaderGone if Typer cannot write its own messages, as in `--help | head -1`, as `write_bytes` does."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO, *FULL):
            write_bytes(b"")
        if error.errno == errno.EPIPE:
            raise ReaderGone from None
        raise


app = typer.Typer(
    name="nlpseq",
    cls=Program,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _show_version(version: bool) -> None:
    if version:
        output.write_text(f"nlpseq {__version__}\n")
        raise typer.Exit


@app.callback()
def nlpseq(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train and run small recurrent text models of your own data, on your own machine.

    \b
      nlpseq train lm book.txt --minutes 5
      nlpseq generate --seed "Once upon a time"
      nlpseq score < lines.txt
      nlpseq translate < in.txt
      nlpseq classify < reviews.txt
    """


_heard: list[int] = []  # signals that end the program


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End the program by an exception; a second signal ends it at once."""
    if _heard:
        os._exit(128 + number)
    _heard.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else Interrupted(number)


def _end_if_dropped(dropped: Any) -> None:
    """End the program if the exception of a signal came where Python only reports it, as in a destructor."""
    if _heard and isinstance(dropped.exc_value, KeyboardInterrupt | Interrupted):
        os._exit(128 + _heard[0])
    sys.__unraisablehook__(dropped)


def main() -> None:
    """The console entry point `nlpseq`."""
    output.keep_standard_error_open()
    process.wait_without_spinning()
    program = typer.main.get_command(app)
    sys.unraisablehook = _end_if_dropped
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _stop)
        program.main(prog_name="nlpseq")
    except (Exception, KeyboardInterrupt, Interrupted):
        if not _heard:
            raise
        sys.exit(128 + _heard[0])  # some libraries raise another exception in place of the signal's
    finally:
        gc.freeze()  # the last search for garbage would visit every object of torch, which takes longer than the rest
