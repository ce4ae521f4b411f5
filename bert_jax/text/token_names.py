"""Tokens, ids and text turned into each other, under the names that people know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.text.entries import CONTROL_ROLES
from bert_jax.text.tokenizer import Tokenizer


class TokenNames:
    """The part of `BertTokenizer` that is about single tokens.

    Attributes:
        tokenizer: the vocabulary.
        vocab_size: entries of the vocabulary, control tokens included.
        pad_token, unk_token, cls_token, sep_token, mask_token: the control tokens.
        pad_token_id, unk_token_id, cls_token_id, sep_token_id, mask_token_id: their ids.
        all_special_tokens, all_special_ids: the five, in this order.
        special_tokens_map: the five by their roles, such as "cls_token".
    """

    def __init__(self, tokenizer: Tokenizer):
        """Wraps a tokenizer."""
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size
        self.all_special_ids = list(tokenizer.special_ids)
        self.all_special_tokens = [*map(tokenizer.id_to_token, tokenizer.special_ids)]
        self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token = (
            self.all_special_tokens
        )
        self.pad_token_id = tokenizer.pad_id
        self.unk_token_id = tokenizer.unk_id
        self.cls_token_id = tokenizer.cls_id
        self.sep_token_id = tokenizer.sep_id
        self.mask_token_id = tokenizer.mask_id
        pairs = zip(CONTROL_ROLES, self.all_special_tokens, strict=True)
        self.special_tokens_map = dict(pairs)

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def do_lower_case(self) -> bool:
        """Whether case is folded."""
        return self.tokenizer.lowercase

    def get_vocab(self) -> dict[str, int]:
        """The id of each entry of the vocabulary."""
        names = map(self.tokenizer.id_to_token, range(self.vocab_size))
        return {token: index for index, token in enumerate(names)}

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many control tokens are put around a text, or around a pair."""
        return self.tokenizer.frame.count(pair)

    def tokenize(self, text: str) -> list[str]:
        """The entries of the vocabulary that `text` becomes; none are added."""
        return [self.tokenizer.id_to_token(index) for index in self.tokenizer.encode(text)]

    def decode(
        self,
        token_ids: Any,
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = True,
    ) -> str:
        """Text of one id or of one row of ids.

        Args:
            token_ids: an id, a list or an array of ids.
            skip_special_tokens: whether to leave control tokens out.
            clean_up_tokenization_spaces: whether "don ' t ." becomes "don't."

        Raises:
            ValueError: there are several rows, or an id is not of the vocabulary.
        """
        if np.ndim(token_ids) > 1:
            raise ValueError(
                f"decode takes one row of ids, not {len(token_ids)}; use batch_decode"
            )
        return self.tokenizer.decode(
            _as_ids(token_ids),
            skip_special=skip_special_tokens,
            clean_up=clean_up_tokenization_spaces,
        )

    def batch_decode(
        self,
        sequences: Any,
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = True,
    ) -> list[str]:
        """Texts of rows of ids; see `decode`."""
        return [
            self.decode(
                row,
                skip_special_tokens=skip_special_tokens,
                clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            )
            for row in sequences
        ]

    def convert_ids_to_tokens(self, ids: Any, *, skip_special_tokens: bool = False) -> Any:
        """The entry at an id, or the list of entries at a list of ids."""
        if np.ndim(ids) == 0:
            return self.tokenizer.id_to_token(int(ids))
        left_out = self.all_special_ids if skip_special_tokens else ()
        kept = (index for index in _as_ids(ids) if index not in left_out)
        return [self.tokenizer.id_to_token(index) for index in kept]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of an entry, or of each of a list; an unknown one has that of [UNK]."""
        if isinstance(tokens, str):
            index = self.tokenizer.token_to_id(tokens)
            return self.unk_token_id if index is None else index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Text of entries of the vocabulary, with the spaces that tokenizing put in."""
        ids = self.convert_tokens_to_ids(tokens)
        return self.tokenizer.decode(ids, clean_up=False)


def _as_ids(ids: Any) -> list[int]:
    return [int(index) for index in np.asarray(ids).reshape(-1)]
