"""Text to sentences."""

from __future__ import annotations

import re

from sentencex import segment

from bert_jax.text.unicode import well_formed

# "1." or "(b)": the number of an item of a list, which the splitter cuts off its item.
_ITEM_NUMBER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)]")
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
        Sentences; no text is lost but white space.
    """
    sentences: list[str] = []
    pending = ""
    for piece in segment(language, well_formed(text)):
        piece = " ".join(piece.split())
        if not piece:
            continue
        if pending:
            piece, pending = f"{pending} {piece}", ""
        if _ITEM_NUMBER.fullmatch(piece):
            pending = piece
        elif sentences and _ELLIPSIS_OR_RULE.fullmatch(piece):
            sentences[-1] = f"{sentences[-1]} {piece}"
        else:
            sentences.append(piece)
    if pending:
        sentences.append(pending)
    return sentences
