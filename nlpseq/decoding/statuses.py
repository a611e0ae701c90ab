"""Words for the field `status` of a line, in addition to those of `nlpseq.text.lines`."""

from __future__ import annotations

CUT = "cut"  # the translation did not end by itself
IN_PART = "in-part"  # only the first tokens of the line were read
BLANK = "blank"  # there is no text to classify
