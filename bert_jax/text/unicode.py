"""Strings that every library in the chain can take."""

from __future__ import annotations


def well_formed(text: str) -> str:
    """`text` with its lone surrogates replaced by U+FFFD; surrogate pairs are joined.

    Python strings may hold halves of surrogate pairs (JSON escapes bring them in);
    UTF-8, and so every library written in Rust or C++, refuses them.
    """
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def original_places(text: str) -> list[int]:
    """Where each character of `well_formed(text)` begins in `text`; at the end its length.

    A joined pair is one character that was two.
    """
    places = []
    index = 0
    while index < len(text):
        places.append(index)
        high, low = text[index], text[index + 1 : index + 2]
        pair = "\ud800" <= high <= "\udbff" and "\udc00" <= low <= "\udfff"
        index += 2 if pair else 1
    return [*places, len(text)]
