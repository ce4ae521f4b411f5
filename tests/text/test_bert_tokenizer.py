"""The familiar face: options, shapes, messages; tests/peers has Transformers itself."""

from __future__ import annotations

import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def test_of_an_odd_number_of_tokens_the_longer_text_keeps_one_more(
    tokenizer: BertTokenizer,
) -> None:
    for first, second, kept in ((4, 6, (2, 3)), (6, 4, (3, 2)), (4, 4, (2, 3))):
        texts = "this " * first, "is " * second
        ids = tokenizer(*texts, truncation=True, max_length=8).input_ids
        assert (ids.count(5), ids.count(6)) == kept


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
    with pytest.raises(ValueError, match="words need is_split_into_words=True"):
        tokenizer([["this"], ["is"]])
    with pytest.raises(ValueError, match="text must be a list of words"):
        tokenizer("this", is_split_into_words=True)
    for wrong in (None, {"text": "this"}, b"this"):
        with pytest.raises(ValueError, match="text must be a string or a list"):
            tokenizer(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_length=0 must be a whole number"):
        tokenizer("this", truncation=True, max_length=0)
    with pytest.raises(ValueError, match="stride=-1 must be a whole number"):
        tokenizer("this", stride=-1)
    with pytest.raises(ValueError, match="must be a multiple of pad_to_multiple_of=8"):
        tokenizer("this", truncation=True, padding=True, max_length=9, pad_to_multiple_of=8)
    with pytest.raises(ValueError, match="stride=4 must be below the 4 tokens"):
        tokenizer("this " * 9, max_length=6, stride=4, return_overflowing_tokens=True)
    with pytest.raises(ValueError, match="must have a text_pair to shorten"):
        tokenizer("this " * 9, truncation="only_second", max_length=6)
    with pytest.raises(ValueError, match="leaves no token of a text of 9 tokens"):
        tokenizer("this " * 9, truncation=True, max_length=2)
    with pytest.raises(ValueError, match="use batch_decode"):
        tokenizer.decode([[5], [6]])
    with pytest.raises(ValueError, match="examples must have input_ids"):
        tokenizer.pad({"labels": [1]})
    with pytest.raises(ValueError, match="the same names"):
        tokenizer.pad([{"input_ids": [1]}, {"input_ids": [1], "labels": 1}])
    with pytest.raises(ValueError, match="raise max_length"):
        tokenizer("this is", "an example", truncation="only_first", max_length=4)


def test_a_length_alone_asks_for_truncation(tokenizer: BertTokenizer) -> None:
    assert tokenizer("this is an example", max_length=4).input_ids == [2, 5, 6, 3]
    whole = tokenizer("this is an example", max_length=4, truncation=False)
    assert whole.input_ids == [2, 5, 6, 7, 8, 3]
    assert tokenizer("this is", max_length=3, padding=True).input_ids == [2, 5, 6, 3]


def test_only_what_was_asked_for_is_returned(tokenizer: BertTokenizer) -> None:
    assert list(tokenizer("this")) == list(tokenizer.model_input_names)
    lean = tokenizer("this", return_token_type_ids=False, return_attention_mask=False)
    assert dict(lean) == {"input_ids": [2, 5, 3]}
    bare = tokenizer("this", "is", add_special_tokens=False)
    assert bare == {
        "input_ids": [5, 6],
        "token_type_ids": [0, 1],
        "attention_mask": [1, 1],
    }
    masks = tokenizer(["this [SEP]", ""], padding=True, return_special_tokens_mask=True)
    assert masks["special_tokens_mask"] == [[1, 0, 0, 1], [1, 1, 1, 1]]


def test_a_batch_of_pairs(tokenizer: BertTokenizer) -> None:
    apart = tokenizer(["this", "is"], ["an", "example"])
    assert tokenizer([("this", "an"), ["is", "example"]]) == apart
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_overflow_comes_as_further_rows(tokenizer: BertTokenizer) -> None:
    options: dict[str, Any] = {
        "max_length": 5,
        "stride": 1,
        "padding": True,
        "truncation": True,
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
    }
    batch = tokenizer(["this", "this is an examples."], **options)
    assert batch["input_ids"] == [
        [2, 5, 3, 0, 0],
        [2, 5, 6, 7, 3],
        [2, 7, 8, 9, 3],
        [2, 9, 11, 3, 0],
    ]
    assert batch["overflow_to_sample_mapping"] == [0, 1, 1, 1]
    assert batch["offset_mapping"][3] == [(0, 0), (18, 19), (19, 20), (0, 0), (0, 0)]
    assert batch.word_ids(2) == [None, 2, 3, 3, None]
    assert tokenizer("this", **options)["input_ids"] == [[2, 5, 3]]


def test_overflow_of_the_context_of_a_question(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(
        ["this is"],
        ["an example sentence . an example"],
        truncation="only_second",
        max_length=9,
        stride=2,
        return_overflowing_tokens=True,
    )
    contexts = [row[4:-1] for row in batch["input_ids"]]
    assert contexts == [[7, 8, 10, 11], [10, 11, 7, 8]]
    assert all(row[:4] == [2, 5, 6, 3] for row in batch["input_ids"])
    assert batch.sequence_ids(1) == [None, 0, 0, None, 1, 1, 1, 1, None]


def test_overflow_of_both_texts(tokenizer: BertTokenizer) -> None:
    batch = tokenizer(
        "this is an example", "an is this .", max_length=7, return_overflowing_tokens=True
    )
    pairs = [(row[1:3], row[4:6]) for row in batch["input_ids"]]
    a, b = ([5, 6], [7, 8]), ([7, 6], [5, 11])
    assert pairs == [(a[0], b[0]), (a[1], b[0]), (a[1], b[1]), (a[0], b[1])]
    assert batch["token_type_ids"] == [[0, 0, 0, 0, 1, 1, 1]] * 4


def test_the_other_sides(tokenizer: BertTokenizer, tmp_path: pathlib.Path) -> None:
    left = BertTokenizer(tokenizer.tokenizer, padding_side="left", truncation_side="left")
    rows = left(["this is an", "an"], max_length=4, padding=True, truncation=True)
    assert rows["input_ids"] == [[2, 6, 7, 3], [0, 2, 7, 3]]
    assert rows["attention_mask"] == [[1, 1, 1, 1], [0, 1, 1, 1]]
    windows = left("this is an example", max_length=4, return_overflowing_tokens=True)
    assert windows["input_ids"] == [[2, 7, 8, 3], [2, 5, 6, 3]]
    left.save_pretrained(tmp_path)
    loaded = BertTokenizer.from_pretrained(tmp_path)
    assert (loaded.padding_side, loaded.truncation_side) == ("left", "left")


def test_words_given_one_by_one(tokenizer: BertTokenizer) -> None:
    words = ["examples", "", "is", "this."]
    batch = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True)
    assert batch.tokens() == ["[CLS]", "example", "##s", "is", "this", ".", "[SEP]"]
    assert batch.word_ids() == [None, 0, 0, 2, 3, 3, None]
    assert batch.offset_mapping[1:5] == [(0, 7), (7, 8), (0, 2), (0, 4)]
    both = tokenizer(
        [words, ["is"]], [["an"], ["an"]], is_split_into_words=True, padding=True
    )
    assert both.word_ids(1) == [None, 0, None, 0, None, None, None, None, None]


def test_pad(tokenizer: BertTokenizer) -> None:
    examples = [
        tokenizer("this is", return_special_tokens_mask=True),
        tokenizer("an", return_special_tokens_mask=True),
    ]
    padded = tokenizer.pad([{**e, "labels": n} for n, e in enumerate(examples)])
    assert padded == {
        "input_ids": [[2, 5, 6, 3], [2, 7, 3, 0]],
        "token_type_ids": [[0] * 4, [0] * 4],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]],
        "special_tokens_mask": [[1, 0, 0, 1], [1, 0, 1, 1]],
        "labels": [0, 1],
    }
    arrays = tokenizer.pad({"input_ids": [[2, 3], [2]]}, pad_to_multiple_of=4)
    assert arrays.attention_mask == [[1, 1, 0, 0], [1, 0, 0, 0]]
    one = tokenizer.pad(examples[1], padding="max_length", max_length=5)
    assert one.input_ids == [2, 7, 3, 0, 0]
    assert examples[1].input_ids == [2, 7, 3]
    given = tokenizer.pad([{"input_ids": np.array([2, 3])}, {"input_ids": np.array([2])}])
    assert given.input_ids.tolist() == [[2, 3], [2, 0]]
    again = tokenizer.pad(tokenizer(["this", "an"], return_tensors="jax"), max_length=4)
    assert isinstance(again.input_ids, np.ndarray)
    assert again.input_ids.shape == (2, 3)


def test_decoding(tokenizer: BertTokenizer) -> None:
    ids = tokenizer("this is.").input_ids
    assert tokenizer.decode(ids) == "[CLS] this is. [SEP]"
    assert tokenizer.decode(np.array(ids), skip_special_tokens=True) == "this is."
    assert tokenizer.decode(5) == "this"
    assert tokenizer.convert_tokens_to_string(["example", "##s", "is"]) == "examples is"
    assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True) == [
        "this",
        "is",
        ".",
    ]
    assert tokenizer.encode("this is.") == ids
    assert tokenizer.get_vocab() == {word: index for index, word in enumerate(WORDS)}
    assert [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)] == [2, 3]


def test_threads_do_not_mix_their_options(tokenizer: BertTokenizer) -> None:
    texts = ["this is an example sentence"] * 50

    def lengths(limit: int) -> set[int]:
        rows = [tokenizer(texts, max_length=limit).input_ids for _ in range(20)]
        return {len(row) for batch in rows for row in batch}

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lengths, [3, 4, 5, 6] * 4))
    finally:
        sys.setswitchinterval(before)
    assert found == [{3}, {4}, {5}, {6}] * 4
