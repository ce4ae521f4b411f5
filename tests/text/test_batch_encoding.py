"""What a tokenizer returns: a dict for the model, with places of its tokens."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import pytest

from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.wordpiece import WordPieceTokenizer

WORDS = [*CONTROL_TOKENS, "this", "is", "an", "example", "##s", "sentence", "."]


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return BertTokenizer(WordPieceTokenizer(WORDS))


def test_where_tokens_stand(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["this", "this is"], ["examples", "an examples."], padding=True)
    assert batch.token_to_chars(1, 6) == (10, 11)
    assert batch.token_to_chars(1, 0) is None
    assert batch.char_to_token(1, 10, sequence_index=1) == 6
    assert batch.char_to_token(1, 4) is None
    assert batch.word_to_tokens(1, 1, sequence_index=1) == (5, 7)
    assert batch.word_to_tokens(1, 9) is None
    assert batch.token_to_word(1, 6) == 1
    alone = tokenizer("this is")
    assert (alone.token_to_chars(2), alone.char_to_token(6)) == ((5, 7), 2)
    assert (alone.word_to_tokens(1), alone.token_to_word(2)) == ((2, 3), 1)


def test_a_batch_is_a_dict_with_attributes(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["this", "is"], return_tensors="np")
    assert isinstance(batch, dict)
    assert (lambda **inputs: inputs)(**batch).keys() == batch.keys()
    assert batch.input_ids is batch["input_ids"]
    with pytest.raises(AttributeError, match="has no 'labels'"):
        batch.labels  # noqa: B018
    copy = pickle.loads(pickle.dumps(batch))
    assert copy.word_ids(1) == batch.word_ids(1) == [None, 0, None]
    assert copy.tokens(1) == ["[CLS]", "is", "[SEP]"]
    with pytest.raises(ValueError, match="is known only of what calling"):
        tokenizer.pad([{"input_ids": [5]}]).word_ids()


def test_arrays_of_jax(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["this is", "an"], padding=True, return_tensors="jax")
    assert all(isinstance(array, jax.Array) for array in batch.values())
    assert batch.input_ids.dtype == np.int32
    assert batch.input_ids.tolist() == [[2, 5, 6, 3], [2, 7, 3, 0]]


def test_jax_is_imported_for_its_arrays_alone(run_python: Any) -> None:
    source = """
import sys
from bert_jax import BertTokenizer
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.wordpiece import WordPieceTokenizer
tokenizer = BertTokenizer(WordPieceTokenizer([*CONTROL_TOKENS, "this"]))
tokenizer("this", return_tensors="np")
print("jax" in sys.modules)
tokenizer("this", return_tensors="jax")
print("jax" in sys.modules)
"""
    assert run_python("-c", source).stdout.split() == ["False", "True"]
