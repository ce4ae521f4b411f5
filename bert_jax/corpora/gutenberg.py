"""What Project Gutenberg puts around and into the books that it distributes.

Differs: tools such as `gutenberg_cleaner` go line by line with lists of phrases; this
looks for the marks that the files themselves carry, and leaves the book as it is where
there are none.
"""

from __future__ import annotations

import re
from collections import Counter

# A header, with the small print of old files, ends before this; longer ones are not known.
HEADER_CHARACTERS = 60_000
# Notes on the making of the file stand within this at the beginning of the book.
FRONT_CHARACTERS = 4_000
# Notes at the end, under a heading of their own, are no longer than this.
NOTES_CHARACTERS = 10_000

_HEADER_END = re.compile(
    r"^[ \t]*\*{3}[ \t]*START OF (?:THE|THIS) PROJECT GUTENBERG(?:[^*]{0,400}\*{3}|[^\n]*)"
    r"|^.{0,200}\*[ \t]*END[ \t]*\*?[ \t]*THE SMALL PRINT[^\n]*",
    re.MULTILINE,
)
_FOOTER = re.compile(
    r"^[ \t]*(?:"
    r"\*{3}[ \t]*END OF (?:THE|THIS) PROJECT GUTENBERG"
    r"|(?:End|END) of (?:the |this )?Project Gutenberg"
    r"|\*{3}[ \t]*START:[ \t]*FULL LICENSE"
    r"|\*{3}[ \t]*START[ \t]*\*\*[ \t]*THE SMALL PRINT"
    r")",
    re.MULTILINE,
)
_PRODUCTION = re.compile(
    r"^[ \t]*(?:(?:Produced|[Ee]-?[Tt]ext prepared|Prepared|Transcribed|Scanned|Digitized|"
    r"Proofread)(?:,? and \w+)? (?:by|from)\b"
    r"|This (?:[Ee]-?[Tt]ext|[Ee]-?[Bb]ook|file) was (?:prepared|produced|created)\b"
    r"|(?:HTML|PDF) version by\b|Updated editions? by\b"
    r"|[^\n]*Online Distributed Proofread)"
    r"[^\n]*(?:\n[^\n]*\S[^\n]*)*\n?",
    re.MULTILINE,
)
# One of these stands in each of the phrases above.
_PRODUCTION_SIGNS = (
    "roduced",
    "repared",
    "created",
    "ranscribed",
    "canned",
    "igitized",
    "roofread",
    "version by",
    "dition by",
    "ditions by",
)
_NOTE = re.compile(
    r"\[(?:Transcriber['’]?s?['’]? Notes?|Redactor['’]s Note)\b[^\[\]]*\]",
    re.IGNORECASE,
)
_ILLUSTRATION = re.compile(r"\[Illustration(?::[^\[\]]*)?\]", re.IGNORECASE)
_FINAL_NOTES = re.compile(
    r"^[ \t]*\**[ \t]*TRANSCRIBER['’]?S?['’]? NOTES?[ \t]*[:.]?[ \t]*\**[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)


def strip_boilerplate(text: str, counts: Counter[str]) -> str:
    """The book without licence, notes on the making of the file, marks of illustrations.

    Args:
        text: a book, or a part of one.
        counts: of what was removed, by name; added to.
    """
    book = text
    if "GUTENBERG" in text or "SMALL PRINT" in text or "Project Gutenberg" in text:
        book = _without_header(book, counts)
        book = _without_footer(book, counts)
    book = _without_production_notes(book, counts)
    if "[" in book:
        book = _drop(_NOTE, book, "transcriber_notes", counts)
        book = _drop(_ILLUSTRATION, book, "illustration_marks", counts)
    return text if len(book) == len(text) else book.strip()


def _without_header(text: str, counts: Counter[str]) -> str:
    """The text after the last mark that ends a header."""
    end = 0
    for found in _HEADER_END.finditer(text, 0, HEADER_CHARACTERS):
        end = found.end()
    if end:
        counts["gutenberg_headers"] += 1
    return text[end:]


def _without_footer(text: str, counts: Counter[str]) -> str:
    """The text before the first mark that begins a footer."""
    found = _FOOTER.search(text)
    if found is None:
        return text
    counts["gutenberg_footers"] += 1
    return text[: found.start()]


def _without_production_notes(text: str, counts: Counter[str]) -> str:
    front, rest = text[:FRONT_CHARACTERS], text[FRONT_CHARACTERS:]
    if any(sign in front for sign in _PRODUCTION_SIGNS):
        front = _drop(_PRODUCTION, front, "production_notes", counts)
    tail = rest[-NOTES_CHARACTERS:]
    if "RANSCRIBER" in tail or "ranscriber" in tail:
        notes = _FINAL_NOTES.search(tail)
        if notes is not None:
            counts["transcriber_notes"] += 1
            rest = rest[: len(rest) - len(tail) + notes.start()]
    return front + rest


def _drop(pattern: re.Pattern[str], text: str, name: str, counts: Counter[str]) -> str:
    kept, number = pattern.subn("", text)
    if number:
        counts[name] += number
    return kept
