"""What tokenizers hand to whoever builds rows for a model: located tokens, and a frame.

Shapes: N tokens.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol


class Pieces(Protocol):
    """The tokens of one text; `tokenizers.Encoding` is of this form.

    Attributes:
        ids: id of each token.
        offsets: where each token stands in the text, [start, stop) in characters; of a
            text given as words, in its word.
        word_ids: number of the word that each token belongs to.
    """

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...

    @property
    def word_ids(self) -> list[int | None]: ...

    def __len__(self) -> int: ...


@dataclasses.dataclass(frozen=True, slots=True)
class LocatedPieces:
    """`Pieces` that are written out."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """The control ids that stand around one text, and around and between two.

    Attributes:
        before: in front of the first text: [CLS].
        between: after the first of two texts: [SEP].
        after: at the end: [SEP].
        second_type: token type of the second text and of what follows it; of all else 0.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    second_type: int

    def count(self, pair: bool) -> int:
        """How many control tokens are added to one text or to a pair."""
        between = self.between if pair else ()
        return len(self.before) + len(between) + len(self.after)

    def bare(self) -> Frame:
        """The same with no control tokens."""
        return Frame((), (), (), self.second_type)
