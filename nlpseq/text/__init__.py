"""Text: where it comes from, how it is cut into tokens, how lines go in and out. No torch.

    tokenisers.py    text to ids and back, nothing lost: byte, char, word, unigram, bpe
    subwords.py      sentencepiece, behind the last two
    formats.py       files (plain, gz, xz) and hub data sets as streams of text; resolves a corpus' name
    parallel.py      pairs of a source and a target, from two files or tables
    pair_tables.py   tables of pairs
    pairs_check.py   faults in parallel text
    labelled.py      labelled texts, and how some are held out
    label_tables.py  tables of labelled texts
    labels_check.py  faults in labelled texts
    bundled.py       the corpora that come with the package
    parts.py         a part of a corpus, as training holds it out
    token_lines.py   lines of text to lines of token ids and back
    columns.py       texts as ids side by side
    stream.py        a tokenised corpus on disk, memory-mapped
    lines.py         the line contract of the filters: batches of lines in, lines out
    corpus_check.py  faults in a corpus, before hours are spent on it

Text is `str`, undecodable bytes are lone surrogates, and only "\\n" ends a line.
"""
