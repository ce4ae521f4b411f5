"""The options of a call of a tokenizer, checked, and the texts that it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bert_jax.text.rows import Row, Truncation

_PADDINGS = (False, True, "longest", "max_length", "do_not_pad")
_STRATEGIES = ("longest_first", "only_first", "only_second")
_TRUNCATIONS = (None, False, True, *_STRATEGIES, "do_not_truncate")
SIDES = ("right", "left")

Texts = str | Sequence[str] | Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Lengths:
    """What a call says of the lengths of its rows; see `BertTokenizer.__call__`.

    Attributes:
        max_length: tokens of a row, given or the tokenizer's own.
        given: whether the call named it.
    """

    padding: bool | str
    truncation: bool | str | None
    max_length: int
    given: bool
    stride: int
    pad_to_multiple_of: int | None
    overflow: bool
    padding_left: bool
    truncation_left: bool

    def __post_init__(self) -> None:
        check_option("padding", self.padding, _PADDINGS)
        check_option("truncation", self.truncation, _TRUNCATIONS)
        check_count("max_length", self.max_length, least=1)
        check_count("stride", self.stride, least=0)
        multiple = self.pad_to_multiple_of
        if multiple is None:
            return
        check_count("pad_to_multiple_of", multiple, least=1)
        if self.strategy and self.pads and self.max_length % multiple:
            raise ValueError(
                f"max_length={self.max_length} must be a multiple of pad_to_multiple_of="
                f"{multiple} where rows are both truncated and padded; change either"
            )

    @property
    def pads(self) -> bool:
        """Whether rows are padded."""
        return self.padding is not False and self.padding != "do_not_pad"

    @property
    def strategy(self) -> str | None:
        """Which text gives tokens, None if rows are not truncated."""
        if self.truncation is None:
            # As Transformers has it: a length alone asks for truncation.
            return "longest_first" if self.given and self.padding is False else None
        if self.truncation is True:
            return "longest_first"
        return self.truncation if self.truncation in _STRATEGIES else None

    def truncated(self, rows: Iterable[Row]) -> list[Row]:
        """The rows brought to length, and on request rows of what did not fit."""
        if self.strategy is None:
            return list(rows)
        truncation = Truncation(
            strategy=self.strategy,
            max_length=self.max_length,
            stride=self.stride,
            overflow=self.overflow,
            left=self.truncation_left,
        )
        return [cut for row in rows for cut in truncation.cut(row)]

    def padded(self, rows: list[Row]) -> list[Row]:
        """The rows with padding."""
        if not self.pads:
            return rows
        width = self.width(len(row) for row in rows)
        return [row.padded(width, self.padding_left) for row in rows]

    def width(self, lengths: Iterable[int]) -> int:
        """Tokens that rows of such lengths are padded to."""
        longest = max(lengths, default=0)
        width = self.max_length if self.padding == "max_length" else longest
        multiple = self.pad_to_multiple_of
        return width if multiple is None else -(-width // multiple) * multiple


def check_option(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuses a value that is none of those `allowed`; 1 is not True."""
    if not any(
        value is item or (isinstance(item, str) and value == item) for item in allowed
    ):
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"{name}={value!r} must be one of {choices}")


def check_count(name: str, value: Any, least: int) -> None:
    """Refuses what is no whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")


def as_texts(
    text: Texts, text_pair: Texts | None, words: bool
) -> tuple[list[Any], list[Any] | None, bool]:
    """The texts of a call as lists: of the texts, of their pairs, and whether it was one.

    Args:
        text: one text, a batch of texts, or a batch of (text, pair).
        text_pair: pairs in the same form.
        words: whether texts are given as lists of words.

    Raises:
        ValueError: they are of another form, or differ in number.
    """
    firsts, single = _as_batch("text", text, words)
    if text_pair is None:
        if not words and firsts and all(_is_pair(first) for first in firsts):
            return [a for a, _ in firsts], [b for _, b in firsts], False
        _check_texts("text", firsts, words)
        return firsts, None, single
    seconds, single_pair = _as_batch("text_pair", text_pair, words)
    if len(seconds) != len(firsts) or single != single_pair:
        raise ValueError(
            f"text_pair holds {len(seconds)} texts and must be like text, which holds "
            f"{len(firsts)}; give each text its pair"
        )
    _check_texts("text", firsts, words)
    _check_texts("text_pair", seconds, words)
    return firsts, seconds, single


def _as_batch(name: str, value: Any, words: bool) -> tuple[list[Any], bool]:
    """The texts as a list, and whether they were one."""
    if not words and isinstance(value, str):
        return [value], True
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        form = "a list of words" if words else "a string or a list of strings"
        raise ValueError(f"{name} must be {form}, not {value!r:.60}")
    values = list(value)
    if words and not (values and isinstance(values[0], list | tuple)):
        return [values], True
    return values, False


def _is_pair(value: Any) -> bool:
    is_two = isinstance(value, list | tuple) and len(value) == 2
    return is_two and all(isinstance(text, str) for text in value)


def _check_texts(name: str, values: list[Any], words: bool) -> None:
    for value in values:
        if words:
            right = isinstance(value, list | tuple) and all(
                isinstance(word, str) for word in value
            )
        else:
            right = isinstance(value, str)
        if not right:
            form = "list of words (strings)" if words else "string or a list of strings"
            raise ValueError(
                f"{name} must be a {form}, not {value!r:.60}"
                + ("" if words else "; words need is_split_into_words=True")
            )
