"""Text to sentences.

The splitter's time grows with the square of a paragraph, and one quotation mark that is
never closed keeps all of the paragraph behind it together. So long paragraphs, such as a
book without blank lines, are cut first where a line ends a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import segment

from bert_jax.text.unicode import well_formed

MAX_PARAGRAPH_CHARACTERS = 5_000
_STOP = "[.!?…。！？．।॥؟۔։።][\"'”’»」』)\\]]*"
# Where to cut, the best first: a line that ends a sentence, a sentence, a word.
_CUTS = (
    re.compile(rf"{_STOP}[^\S\n]*\n\s*"),
    re.compile(rf"{_STOP}\s+(?=[\"'“‘«(]?[^\W\d_a-z])|[。！？．][」』]?"),
    re.compile(r"\s+"),
)
# "1." or "(b)": the number of an item of a list, which the splitter cuts off its item.
_ITEM_NUMBER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)]")
_ITEM_NUMBER_CHARACTERS = 7
_ELLIPSIS_OR_RULE = re.compile(r"[\W_]+")


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences of `text`, in order, stripped, none of them empty.

    A blank line always ends a sentence; a single line break does not, and is kept as
    one space. A list number stays with its item; a piece without a letter or digit is
    joined to the sentence before it.

    Args:
        text: any string.
        language: an ISO 639-1 code; one that the splitter does not know gets the rules
            of the nearest language it knows, in the end those of English.

    Returns:
        Sentences of at most about MAX_PARAGRAPH_CHARACTERS; no text is lost but white
        space.
    """
    sentences: list[str] = []
    trailing: list[str] = []
    pending = ""
    for piece in segment(language, _cut_paragraphs(well_formed(text))):
        if piece.isprintable() and "  " not in piece:
            piece = piece.strip()
        else:
            piece = " ".join(piece.split())
        if not piece:
            continue
        if pending:
            piece, pending = f"{pending} {piece}", ""
        if len(piece) <= _ITEM_NUMBER_CHARACTERS and _ITEM_NUMBER.fullmatch(piece):
            pending = piece
        elif sentences and _ELLIPSIS_OR_RULE.fullmatch(piece):
            trailing.append(piece)
        else:
            _append(trailing, sentences)
            sentences.append(piece)
    _append(trailing, sentences)
    if pending:
        sentences.append(pending)
    return sentences


def _append(trailing: list[str], sentences: list[str]) -> None:
    """Joins pieces to the last sentence, in one go: there may be a million of them."""
    if trailing:
        sentences[-1] = " ".join([sentences[-1], *trailing])
        trailing.clear()


def _cut_paragraphs(text: str) -> str:
    """`text` with blank lines in its long paragraphs."""
    if len(text) <= MAX_PARAGRAPH_CHARACTERS:
        return text
    return "\n\n".join(
        part for paragraph in text.split("\n\n") for part in _parts(paragraph)
    )


def _parts(paragraph: str) -> Iterator[str]:
    """`paragraph` in parts of MAX_PARAGRAPH_CHARACTERS or up to half of that less."""
    start = 0
    while len(paragraph) - start > MAX_PARAGRAPH_CHARACTERS:
        stop = start + MAX_PARAGRAPH_CHARACTERS
        middle = start + MAX_PARAGRAPH_CHARACTERS // 2
        for pattern in _CUTS:
            ends = [match.end() for match in pattern.finditer(paragraph, middle, stop)]
            if ends:
                stop = ends[-1]
                break
        yield paragraph[start:stop]
        start = stop
    yield paragraph[start:]
