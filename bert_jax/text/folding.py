"""Case and accents removed by Python, for tokenizers that do not do it themselves."""

from __future__ import annotations

import unicodedata

_DROPPED_CHARACTERS = {0: None, 0xFFFD: None}


def fold(text: str, lowercase: bool, strip_accents: bool) -> str:
    """`text` with case and accents removed, and what BERT's cleaning drops: NUL, U+FFFD."""
    text = text.translate(_DROPPED_CHARACTERS)
    if not lowercase:
        return text
    text = text.lower()
    if not strip_accents or text.isascii():
        return text
    return unicodedata.normalize("NFC", _without_marks(text))


def fold_with_places(
    text: str, lowercase: bool, strip_accents: bool
) -> tuple[str, list[int], list[int]]:
    """`fold(text, …)` and, for each of its characters, where it stands in `text`.

    Returns:
        The folded text, and for each of its characters where the stretch of `text` that
        it was made of begins, and where it ends.
    """
    folded = fold(text, lowercase, strip_accents)
    places = [i for i, c in enumerate(text) if ord(c) not in _DROPPED_CHARACTERS]
    if lowercase:
        places = [i for i in places for _ in text[i].lower()]
        lowered = text.translate(_DROPPED_CHARACTERS).lower()
        if strip_accents and not lowered.isascii():
            pairs = zip(places, lowered, strict=True)
            places = [i for i, c in pairs for _ in _without_marks(c)]
            return _composed(folded, places)
    assert len(places) == len(folded)
    return folded, places, [place + 1 for place in places]


def _without_marks(text: str) -> str:
    """`text` decomposed (NFD), its non-spacing marks dropped."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def _composed(folded: str, places: list[int]) -> tuple[str, list[int], list[int]]:
    """Places of the composed characters from those of the parts that they consist of."""
    starts, stops = [], []
    part = 0
    for character in folded:
        parts = len(unicodedata.normalize("NFD", character))
        starts.append(places[part])
        stops.append(places[part + parts - 1] + 1)
        part += parts
    assert part == len(places)
    return folded, starts, stops
