"""What a tokenizer returns: a dict for the model that also knows where its tokens are.

Shapes: B rows, L tokens.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_jax.text.rows import Row

TENSORS = (None, "np", "jax")


class Span(NamedTuple):
    """The characters, or the tokens, [start, end)."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """Inputs of a model by name, and where in the texts their tokens stand.

    It unpacks as any dict, `model(**batch)`; `batch.input_ids` is `batch["input_ids"]`.
    The methods take the number of a row, and with it of a token, word or character; of
    a batch of one row the number of the row may be left out, as with Transformers' class
    of this name.

    Differs: it is a dict, not a UserDict, and holds no `Encoding` of the Rust library.
    JAX takes `dict(batch)` for a pytree, not the batch.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        rows: Sequence[Row] = (),
        id_to_token: Callable[[int], str] | None = None,
        pad_id: int = 0,
    ):
        """Wraps `data`; a tokenizer adds its rows, and what names their tokens."""
        super().__init__(data)
        self._rows = tuple(rows)
        self._id_to_token = id_to_token
        self._pad_id = pad_id

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"a batch of {', '.join(self)} has no {name!r}")

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The entry of the vocabulary for each token of a row."""
        row = self._row(batch_index)
        assert self._id_to_token is not None
        return [self._id_to_token(index) for index in row.ids(self._pad_id)]

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Number of the word of each token of a row, None for control tokens and padding.

        With `is_split_into_words`, of the word as it was given; each text counts its own.
        """
        return self._row(batch_index).word_ids()

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 or 1 for each token of a row, as it is of the text or its pair, else None."""
        return self._row(batch_index).sequence_ids()

    def token_to_chars(self, batch_or_token: int, token: int | None = None) -> Span | None:
        """Where a token stands in its text; None for control tokens and padding."""
        row, token = self._places(batch_or_token, token)
        if row.sequence_ids()[token] is None:
            return None
        return Span(*row.offsets()[token])

    def token_to_word(self, batch_or_token: int, token: int | None = None) -> int | None:
        """Number of the word of a token; None for control tokens and padding."""
        row, token = self._places(batch_or_token, token)
        return row.word_ids()[token]

    def char_to_token(
        self, batch_or_char: int, char: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that a character of a text went into; None for spaces between."""
        row, char = self._places(batch_or_char, char)
        places = zip(row.sequence_ids(), row.offsets(), strict=True)
        for token, (sequence, (start, stop)) in enumerate(places):
            if sequence == sequence_index and start <= char < stop:
                return token
        return None

    def word_to_tokens(
        self, batch_or_word: int, word: int | None = None, sequence_index: int = 0
    ) -> Span | None:
        """The tokens of a word of a text; None if it left none in this row."""
        row, word = self._places(batch_or_word, word)
        places = zip(row.sequence_ids(), row.word_ids(), strict=True)
        found = [token for token, p in enumerate(places) if p == (sequence_index, word)]
        return Span(found[0], found[-1] + 1) if found else None

    def _places(self, batch_or_place: int, place: int | None) -> tuple[Row, int]:
        """The row, and the number inside it, of a call that may leave out the row."""
        if place is None:
            return self._row(0), batch_or_place
        return self._row(batch_or_place), place

    def _row(self, index: int) -> Row:
        if not self._rows:
            raise ValueError(
                "where tokens stand is known only of what calling a tokenizer returned; "
                "this batch was made otherwise"
            )
        return self._rows[index]


def tensors_of(
    columns: Mapping[str, list[Any]], return_tensors: str | None, single: bool
) -> dict[str, Any]:
    """Columns of rows as lists, or as int32[B, L] arrays of NumPy or JAX.

    Args:
        columns: each with a value for each row.
        return_tensors: one of `TENSORS`.
        single: whether lists are those of the one row, not lists of rows.

    Raises:
        ValueError: arrays are asked for, and the rows of a column differ in length.
    """
    if return_tensors is None:
        return {name: rows[0] if single else rows for name, rows in columns.items()}
    arrays = {name: _array(name, rows) for name, rows in columns.items()}
    if return_tensors == "np":
        return arrays
    # Whoever asks for JAX arrays has JAX; this package does without.
    convert = importlib.import_module("jax.numpy").asarray
    return {name: convert(array) for name, array in arrays.items()}


def _array(name: str, rows: list[Any]) -> np.ndarray:
    lengths = {len(row) for row in rows if isinstance(row, list)}
    if len(lengths) > 1:
        raise ValueError(
            f"return_tensors needs rows of one length, those of {name} have {min(lengths)} "
            f"to {max(lengths)} tokens; set padding=True (and truncation=True)"
        )
    try:
        array = np.array(rows)
    except ValueError:
        raise ValueError(
            f"return_tensors needs numbers in rows of one length; {name} has other values"
        ) from None
    if array.size == 0 or np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int32)
    return array
