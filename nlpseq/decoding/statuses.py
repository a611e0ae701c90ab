"""What a filter says of a line beside `nlpseq.text.lines`: words for the field `status`."""

from __future__ import annotations

CUT = "cut"  # the translation did not end by itself
IN_PART = "in-part"  # only the first tokens of the line were read
BLANK = "blank"  # there is no text to classify
