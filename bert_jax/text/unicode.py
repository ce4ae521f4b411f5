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
