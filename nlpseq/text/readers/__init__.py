"""Files to rows of cells, one file for each family of formats. A new format is a file and a line in FORMATS."""

from nlpseq.text.readers.delimited import CSV, TSV
from nlpseq.text.readers.json_lines import JSON_LINES
from nlpseq.text.readers.parquet import PARQUET
from nlpseq.text.readers.po import PO
from nlpseq.text.readers.table import TableFormat
from nlpseq.text.readers.tmx import TMX

__all__ = ["FORMATS"]

FORMATS: dict[str, TableFormat] = {
    suffix: table_format
    for table_format in (TSV, CSV, JSON_LINES, PARQUET, PO, TMX)
    for suffix in table_format.suffixes
}
