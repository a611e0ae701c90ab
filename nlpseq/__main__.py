"""`python -m nlpseq` is `nlpseq`."""

from nlpseq.commands.cli import main

main()
