"""From probabilities to text, over any step function; and from texts to labels.

Nothing here prints: the caller shows the texts.
"""
