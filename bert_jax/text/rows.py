"""Rows of tokens: texts and pairs cut to length, set between control tokens, padded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from bert_jax.text.pieces import Frame, Pieces


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """The tokens [start, stop) of one text."""

    pieces: Pieces
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, values: list[Any]) -> list[Any]:
        """The stretch of a list that has one value for each token of the text."""
        whole = self.start == 0 and self.stop == len(self.pieces)
        return values if whole else values[self.start : self.stop]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch.

    Attributes:
        sample: number of the text that the row is of.
        first: tokens of the text.
        second: tokens of its pair.
        frame: control tokens around them.
        padding: tokens of padding.
        left: whether the padding stands in front.
    """

    sample: int
    first: Part
    second: Part | None
    frame: Frame
    padding: int = 0
    left: bool = False

    def __len__(self) -> int:
        """Tokens without padding."""
        second = 0 if self.second is None else len(self.second)
        return self.frame.count(self.second is not None) + len(self.first) + second

    def padded(self, length: int, left: bool) -> Row:
        """The row with padding up to `length` tokens."""
        missing = max(0, length - len(self))
        return dataclasses.replace(self, padding=missing, left=left)

    def ids(self, pad_id: int) -> list[int]:
        """Id of each token."""
        values = [*self.frame.before, *self.first.of(self.first.pieces.ids)]
        if self.second is not None:
            values += self.frame.between
            values += self.second.of(self.second.pieces.ids)
        values += self.frame.after
        return self._with_padding(values, pad_id)

    def token_types(self) -> list[int]:
        """0 for the first text, the type of the second for it and what follows it."""
        if self.second is None:
            return [0] * (len(self) + self.padding)
        tail = len(self.second) + len(self.frame.after)
        values = [0] * (len(self) - tail) + [self.frame.second_type] * tail
        return self._with_padding(values, 0)

    def attention(self) -> list[int]:
        """1 for tokens, 0 for padding."""
        return self._with_padding([1] * len(self), 0)

    def special_tokens(self) -> list[int]:
        """1 for control tokens that were added and for padding, 0 for what is of a text."""
        first = [0] * len(self.first)
        second = None if self.second is None else [0] * len(self.second)
        return self._spread(first, second, 1)

    def offsets(self) -> list[tuple[int, int]]:
        """Where each token stands in its text; (0, 0) for what is of no text."""
        second = self.second
        others = None if second is None else second.of(second.pieces.offsets)
        return self._spread(self.first.of(self.first.pieces.offsets), others, (0, 0))

    def word_ids(self) -> list[int | None]:
        """Number of the word of each token; None for what is of no text."""
        second = self.second
        others = None if second is None else second.of(second.pieces.word_ids)
        return self._spread(self.first.of(self.first.pieces.word_ids), others, None)

    def sequence_ids(self) -> list[int | None]:
        """0 for tokens of the first text, 1 for the second, None for what is of neither."""
        second = None if self.second is None else [1] * len(self.second)
        return self._spread([0] * len(self.first), second, None)

    def _spread(self, first: list[Any], second: list[Any] | None, other: Any) -> list[Any]:
        """Values of the tokens of texts, `other` at control tokens and padding."""
        values = [*[other] * len(self.frame.before), *first]
        if second is not None:
            values += [*[other] * len(self.frame.between), *second]
        values += [other] * len(self.frame.after)
        return self._with_padding(values, other)

    def _with_padding(self, values: list[Any], value: Any) -> list[Any]:
        if self.padding == 0:
            return values
        padding = [value] * self.padding
        return padding + values if self.left else values + padding


@dataclasses.dataclass(frozen=True, slots=True)
class Truncation:
    """How rows are brought to a length.

    Attributes:
        strategy: "longest_first", "only_first" or "only_second": which text gives.
        max_length: tokens of a row, control tokens included.
        stride: tokens that stand at the end of one window and again in the next.
        overflow: whether what does not fit comes as further rows.
        left: whether the beginning is taken away, not the end.
    """

    strategy: str
    max_length: int
    stride: int
    overflow: bool
    left: bool

    def cut(self, row: Row) -> Iterator[Row]:
        """The row brought to length, and on request rows of what did not fit.

        Source: the order of Hugging Face `tokenizers`, Encoding::merge_with: the first
        window of both texts, the other windows of the first text with all of the second,
        then its first with the others of the second.

        Raises:
            ValueError: no token of a text would stay, or windows would not move on.
        """
        pair = row.second is not None
        room = self.max_length - row.frame.count(pair)
        second_length = 0 if row.second is None else len(row.second)
        if len(row.first) + second_length <= room:
            yield row
            return
        keep_first, keep_second = self._kept(len(row.first), second_length, room, pair)
        firsts = self._windows(row.first, keep_first)
        if row.second is None:
            for window in firsts if self.overflow else firsts[:1]:
                yield dataclasses.replace(row, first=window)
            return
        seconds = self._windows(row.second, keep_second)
        yield dataclasses.replace(row, first=firsts[0], second=seconds[0])
        if not self.overflow:
            return
        for window in firsts[1:]:
            for other in seconds:
                yield dataclasses.replace(row, first=window, second=other)
        for other in seconds[1:]:
            yield dataclasses.replace(row, first=firsts[0], second=other)

    def _kept(self, first: int, second: int, room: int, pair: bool) -> tuple[int, int]:
        """How many tokens of each text stay, so that together they are at most `room`.

        Source: the arithmetic of Hugging Face `tokenizers`, utils/truncation.rs.
        """
        if self.strategy == "only_second" and not pair:
            raise ValueError(
                f"truncation='only_second' must have a text_pair to shorten, for a text of "
                f"{first} tokens is too long for max_length={self.max_length}; give one, "
                "or truncation=True"
            )
        if self.strategy == "only_first":
            kept = room - second, second
        elif self.strategy == "only_second":
            kept = first, room - first
        elif not pair:
            kept = room, 0
        else:
            kept = _longest_first(first, second, room)
        if any(k < min(1, n) for k, n in zip(kept, (first, second), strict=True)):
            lengths = f"{first} and {second}" if pair else f"{first}"
            raise ValueError(
                f"truncation={self.strategy!r} to max_length={self.max_length} leaves no "
                f"token of a text of {lengths} tokens; raise max_length"
            )
        return kept

    def _windows(self, part: Part, keep: int) -> list[Part]:
        """Stretches of `keep` tokens, the first one being that which truncation leaves."""
        length = len(part)
        if keep >= length:
            return [part]
        if not self.overflow:
            start = length - keep if self.left else 0
            return [Part(part.pieces, start, start + keep)]
        if self.stride >= keep:
            raise ValueError(
                f"stride={self.stride} must be below the {keep} tokens of a text that fit "
                f"into max_length={self.max_length}; lower it or raise max_length"
            )
        windows = []
        for moved in range(0, length, keep - self.stride):
            stop = length - moved if self.left else min(moved + keep, length)
            start = max(0, stop - keep) if self.left else moved
            windows.append(Part(part.pieces, start, stop))
            if (start == 0) if self.left else (stop == length):
                break
        return windows


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    short, long = min(first, second), max(first, second)
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (short, long) if first <= second else (long, short)
