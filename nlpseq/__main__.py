"""The entry of the program: `nlpseq`, and `python -m nlpseq`.

Importing takes a tenth of a second or two, and a Ctrl-C in it ends the process as it ends one that knows no Python:
at once and without a traceback.
"""

import _signal as signal  # type: ignore[import-not-found]  # `signal` itself takes long enough to be interrupted
import sys


def main() -> None:
    """Import the program, and run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from nlpseq.commands import cli
    from nlpseq.errors import Interrupted

    try:
        try:
            cli.main()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # the work is done: only the interpreter has to end
    except KeyboardInterrupt:  # before or after the command itself
        sys.exit(128 + signal.SIGINT)
    except Interrupted as stop:
        sys.exit(128 + stop.signal_number)


if __name__ == "__main__":
    main()
