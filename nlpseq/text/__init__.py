"""Text: where it comes from, how it is cut into tokens, how lines go in and out. No torch.

    formats.py       files, bundled corpora and hub data sets as streams of text; resolves a corpus' name
    compression.py   the bytes of files, compressed or not
    encodings.py     bytes to text, and hints for what is not UTF-8
    hub.py           data sets of the hub
    bundled.py       the corpora that come with the package
    splits.py        spans of a corpus: training text, and text that is held out
    signature.py     how a corpus is identified: its hash and its name
    stream.py        a tokenised corpus on disk, memory-mapped
    lines.py         the line contract of the filters: batches of lines in, lines out
    padding.py       texts as ids side by side
    tokenisers/      text to ids and back, nothing lost: byte, char, word, unigram, bpe
    readers/         files to rows of cells: tsv, csv, jsonl, parquet, PO, TMX, fastText, folders
    tables/          rows to pairs and to labelled texts
    checks/          faults in a corpus, found before hours are spent on it

Text is `str`, undecodable bytes are lone surrogates, and only "\\n" ends a line.
"""
