"""Documents to text, a file for each format. A new format is a file and a line in DOCUMENTS.

format.py      the record of a format, and what several formats need
markup.py      the visible text of markup
package.py     the zip archives that documents are packed in
html.py, epub.py, docx.py
"""

from nlpseq.text.documents.docx import DOCX
from nlpseq.text.documents.epub import EPUB
from nlpseq.text.documents.format import DocumentFormat
from nlpseq.text.documents.html import HTML

__all__ = ["DOCUMENTS"]

DOCUMENTS: dict[str, DocumentFormat] = {
    suffix: document_format for document_format in (HTML, EPUB, DOCX) for suffix in document_format.suffixes
}
