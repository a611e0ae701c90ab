"""The entry of the program: `nlpseq`, and `python -m nlpseq`.

Importing takes a tenth of a second or two, and a Ctrl-C in it ends the process as it ends one that knows no Python:
at once and without a traceback.
"""

import _signal as signal  # type: ignore[import-not-found]  # `signal` itself takes long enough to be interrupted
import sys


def main() -> None:
    """Import the program, and run it."""
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is to be ignored
    if listens:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from nlpseq.commands import cli

    try:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.main()
    except KeyboardInterrupt:  # before or after the command itself
        sys.exit(128 + signal.SIGINT)
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: only the interpreter has to end


if __name__ == "__main__":
    main()
