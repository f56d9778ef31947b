"""Text of a stranger, such as the name of a class, inside Markdown."""

import re


def literal(value):
    """Text in Markdown that means nothing but itself, on one line.

    Hyphens, dots and the like mean something only beside a space or each other.
    """
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]()<>#!|$~&@^\"']|(?<!\w)[+.:-]|[+.:-](?!\w))", r"\\\1", text)
