"""Text: reading corpora, cutting text into tokens, reading, writing and showing lines. No torch.

Text is `str`, an undecodable byte is a lone surrogate, and only "\\n" ends a line.
"""
