"""The familiar face: options, shapes, messages; live against Transformers with `peers`."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.wordpiece import WordPieceTokenizer

WORDS = [*CONTROL_TOKENS, "this", "is", "an", "example", "##s", "sentence", "."]


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return BertTokenizer(WordPieceTokenizer(WORDS))


def test_one_text(tokenizer: BertTokenizer) -> None:
    assert tokenizer("This is an examples sentence.") == {
        "input_ids": [2, 5, 6, 7, 8, 9, 10, 11, 3],
        "token_type_ids": [0] * 9,
        "attention_mask": [1] * 9,
    }


def test_batch_with_padding_as_arrays(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(["this is", "this"], padding=True, return_tensors="np")
    assert {name: array.dtype for name, array in batch.items()} == dict.fromkeys(
        ("input_ids", "token_type_ids", "attention_mask"), np.dtype("int32")
    )
    assert batch["input_ids"].tolist() == [[2, 5, 6, 3], [2, 5, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert tokenizer("this", return_tensors="np")["input_ids"].shape == (1, 3)
    longest = tokenizer("this", padding="max_length", max_length=6)
    assert longest["input_ids"] == [2, 5, 3, 0, 0, 0]


def test_pairs_have_types_and_are_truncated_from_the_longer(
    tokenizer: BertTokenizer,
) -> None:
    pair = tokenizer("this is", "an example")
    assert pair["input_ids"] == [2, 5, 6, 3, 7, 8, 3]
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    text, other = "this is an example sentence .", "this is"
    cut = tokenizer(text, other, truncation=True, max_length=8)
    assert cut["input_ids"] == [2, 5, 6, 7, 3, 5, 6, 3]
    first = tokenizer(text, other, truncation="only_first", max_length=6)
    assert first["input_ids"] == [2, 5, 3, 5, 6, 3]
    second = tokenizer(other, text, truncation="only_second", max_length=6)
    assert second["input_ids"] == [2, 5, 6, 3, 5, 3]


def test_default_length_comes_from_the_folder(
    tokenizer: BertTokenizer, tmp_path: pathlib.Path
) -> None:
    tokenizer.model_max_length = 5
    tokenizer.save_pretrained(tmp_path / "run" / "tokenizer")
    loaded = BertTokenizer.from_pretrained(tmp_path / "run")
    assert loaded("this is an example", truncation=True)["input_ids"] == [2, 5, 6, 7, 3]
    assert BertTokenizer.from_pretrained(str(tmp_path / "run" / "tokenizer"))("this")


def test_conversions(tokenizer: BertTokenizer) -> None:
    assert tokenizer.mask_token == "[MASK]"
    assert tokenizer.mask_token_id == 4
    assert len(tokenizer) == tokenizer.vocab_size == len(WORDS)
    assert tokenizer.tokenize("an examples [MASK]") == ["an", "example", "##s", "[MASK]"]
    assert tokenizer.convert_tokens_to_ids(["an", "absent"]) == [7, 1]
    assert tokenizer.convert_ids_to_tokens([7, 4]) == ["an", "[MASK]"]
    assert tokenizer.convert_ids_to_tokens(np.int32(7)) == "an"
    rows = tokenizer(["this is .", "an"], padding=True, return_tensors="np")["input_ids"]
    assert tokenizer.batch_decode(rows, skip_special_tokens=True) == ["this is.", "an"]


def test_mistakes_are_named(tokenizer: BertTokenizer) -> None:
    with pytest.raises(ValueError, match="padding='yes' must be one of"):
        tokenizer("this", padding="yes")
    with pytest.raises(ValueError, match="return_tensors='pt' must be one of"):
        tokenizer("this", return_tensors="pt")
    with pytest.raises(ValueError, match="set padding=True"):
        tokenizer(["this", "this is"], return_tensors="np")
    with pytest.raises(ValueError, match="give each text its pair"):
        tokenizer(["this", "is"], ["an"])
    with pytest.raises(ValueError, match="text must be a string"):
        tokenizer([5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="raise max_length"):
        tokenizer("this is", "an example", truncation="only_first", max_length=4)


@pytest.mark.peers
def test_same_as_transformers(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    transformers = pytest.importorskip("transformers")
    ours = BertTokenizer.from_pretrained(
        shared_data / "vocab" / "bert-base-uncased-vocab.txt"
    )
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert theirs.model_max_length == ours.model_max_length == 512
    texts = [
        "Hello [MASK] wörld, it's 12:30!",
        "[SEP] 力加勝北区 unaffable " * 20,
        "",
        " ".join(["longer"] * 50),
    ]
    for a in texts:
        for b in (None, *filter(None, texts)):
            for limit in (16, 17, 40):
                options = {"truncation": True, "padding": "max_length", "max_length": limit}
                mine, peer = ours(a, b, **options), theirs(a, b, **options)
                for name, values in mine.items():
                    assert values == peer[name], (a, b, limit, name)
    ids = ours(texts[0])["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=True)
    assert ours.tokenize(texts[0]) == theirs.tokenize(texts[0])
