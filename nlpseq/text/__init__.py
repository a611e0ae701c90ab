"""Text: where it comes from, how it is cut into tokens, how lines go in and out. No torch.

    formats.py       files (plain, gz, xz) and hub data sets as streams of text; resolves a corpus' name
    bundled.py       the corpora that come with the package
    parts.py         a part of a corpus, as training holds it out
    stream.py        a tokenised corpus on disk, memory-mapped
    lines.py         the line contract of the filters: batches of lines in, lines out
    padding.py       texts as ids side by side
    tokenisers/      text to ids and back, nothing lost: byte, char, word, unigram, bpe
    tables/          pairs and labelled texts, from tables, files in step and folders
    checks/          faults in a corpus, before hours are spent on it

Text is `str`, undecodable bytes are lone surrogates, and only "\\n" ends a line.
"""
