"""`BertTokenizer` against Transformers' own, and its saved files read by Transformers."""

from __future__ import annotations

import gzip
import importlib
import itertools
import json
import pathlib
import random
import shutil
from typing import Any

import pytest

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.vocabulary import train_tokenizer

pytestmark = pytest.mark.peers

WORDS = [
    "the", "Wörld", "unaffable", "it's", "don't", "12:30!", "...", "naïve\u00a0", "\t",
    "力加勝", "北区", "한국어", "ছজট", "é", "e\u0301x", "İstanbul", "ﬁne", "Ⅷ", "\u200b",
    "a\0b", "😀👩‍👩‍👧", "[MASK]", "[SEP]", "x" * 120,
]  # fmt: skip
LENGTHS = (0, 1, 2, 5, 9, 20, 40)
PADDINGS = (False, True, "max_length")
TRUNCATIONS = (None, False, True, "only_first", "only_second")


@pytest.fixture(scope="module")
def peer() -> Any:
    """Transformers; imported here, for the tests are collected without it too."""
    return importlib.import_module("transformers")


@pytest.fixture(scope="module", params=["uncased", "cased"])
def both(
    request: pytest.FixtureRequest,
    peer: Any,
    shared_data: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[BertTokenizer, Any]:
    """Ours, and Transformers' loaded from what ours saved."""
    ours = BertTokenizer.from_pretrained(
        shared_data / "vocab" / f"bert-base-{request.param}-vocab.txt"
    )
    assert ours.do_lower_case == (request.param == "uncased")
    folder = tmp_path_factory.mktemp("saved")
    ours.save_pretrained(folder)
    theirs = peer.AutoTokenizer.from_pretrained(str(folder))
    assert isinstance(theirs, peer.BertTokenizerFast)
    assert theirs.model_max_length == ours.model_max_length == 512
    return ours, theirs


def drawn(rng: random.Random, split: bool, batch: bool) -> Any:
    """A text or a batch of texts, as strings or as words."""
    texts: list[Any] = [
        [rng.choice(WORDS) for _ in range(rng.choice(LENGTHS))]
        for _ in range(rng.randint(1, 4) if batch else 1)
    ]
    if split:
        texts[0] = texts[0] or ["x"]  # Transformers tells a batch by its first text
    else:
        texts = [" ".join(words) or "x" for words in texts]
    return texts if batch else texts[0]


def compare(ours: BertTokenizer, theirs: Any, texts: tuple[Any, ...], options: Any) -> str:
    """Asserts that both give the same, or refuse for a reason; returns what happened."""
    refusal = None
    try:
        mine = ours(*texts, **options)
    except ValueError as error:
        refusal = str(error)
    try:
        other = theirs(*texts, **options)
    except BaseException as error:
        # The Rust library panics at a stride that does not move on.
        assert isinstance(error, Exception) or type(error).__name__ == "PanicException"
        # Where no row needs the stride, it does not matter here.
        assert refusal is not None or "stride" in str(error), options
        return "refused"
    if refusal is not None:
        assert "leaves no token" in refusal, (refusal, options)
        return "stated"
    assert dict(mine) == dict(other), (texts, options)
    for row in range(len(other.encodings)):
        assert mine.word_ids(row) == other.word_ids(row), (texts, options)
        assert mine.sequence_ids(row) == other.sequence_ids(row), (texts, options)
        tokens = [ours.convert_ids_to_tokens(index) for index in other.encodings[row].ids]
        assert mine.tokens(row) == tokens, (texts, options)
    return "same"


def test_every_field_under_all_options(both: tuple[BertTokenizer, Any]) -> None:
    rng = random.Random(0)
    seen = {"same": 0, "refused": 0, "stated": 0}
    grid = itertools.product(
        PADDINGS, TRUNCATIONS, (0, 3), (False, True), (False, True), (False, True)
    )
    for padding, truncation, stride, pair, split, overflow in grid:
        for _ in range(10):
            batch = rng.random() < 0.7
            options = {
                "padding": padding,
                "truncation": truncation,
                "stride": stride,
                "is_split_into_words": split,
                "return_overflowing_tokens": overflow,
                "return_offsets_mapping": True,
                "return_special_tokens_mask": True,
                "add_special_tokens": rng.random() < 0.8,
                "max_length": rng.choice([None, 4, 7, 8, 12, 16, 24, 32, 64]),
                "pad_to_multiple_of": rng.choice([None, None, 8]),
            }
            texts = tuple(drawn(rng, split, batch) for _ in range(1 + pair))
            seen[compare(*both, texts, options)] += 1
    assert seen["same"] > 1300
    assert seen["refused"] > 50
    assert seen["stated"] < 50


def test_offsets_and_ids_of_long_questions(
    both: tuple[BertTokenizer, Any], shared_data: pathlib.Path
) -> None:
    path = shared_data / "tokenization" / "squad-questions.json.gz"
    texts = [q["text"] for q in json.loads(gzip.decompress(path.read_bytes()))][::10]
    contexts = [" ".join(texts[n : n + 20]) for n in range(len(texts))]
    options = {
        "max_length": 128,
        "stride": 32,
        "truncation": "only_second",
        "padding": "max_length",
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
    }
    assert compare(*both, (texts, contexts), options) == "same"


def test_where_tokens_stand(both: tuple[BertTokenizer, Any]) -> None:
    ours, theirs = both
    texts = "It's unaffable.", "Wörld of 力加勝 x"
    mine, other = ours(*texts), theirs(*texts)
    for token in range(len(mine.input_ids)):
        assert mine.token_to_word(token) == other.token_to_word(token)
        assert mine.token_to_chars(token) == other.token_to_chars(token)
    for sequence, text in enumerate(texts):
        for char in range(len(text)):
            mine_at = mine.char_to_token(0, char, sequence_index=sequence)
            assert mine_at == other.char_to_token(0, char, sequence_index=sequence)
        for word in range(4):
            span = mine.word_to_tokens(0, word, sequence_index=sequence)
            assert span == other.word_to_tokens(0, word, sequence_index=sequence)


def test_padding_afterwards(both: tuple[BertTokenizer, Any]) -> None:
    ours, theirs = both
    texts = ["the world", "it's unaffable, the world"]
    mine = [ours(text, return_special_tokens_mask=True) for text in texts]
    other = [theirs(text, return_special_tokens_mask=True) for text in texts]
    for options in (
        {},
        {"padding": "max_length", "max_length": 16},
        {"padding": "longest", "pad_to_multiple_of": 8},
    ):
        assert dict(ours.pad(mine, **options)) == dict(theirs.pad(other, **options))
        arrays = theirs.pad(other, return_tensors="np", **options)
        ours_too = ours.pad(mine, return_tensors="np", **options)
        assert all((ours_too[name] == array).all() for name, array in arrays.items())


def test_words_of_ids(both: tuple[BertTokenizer, Any]) -> None:
    ours, theirs = both
    text = "Hello [MASK] wörld, it's 12:30 ! don't we're \" ' no."
    ids = ours(text).input_ids
    for skip in (False, True):
        for clean in (False, True):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.decode(ids, **options) == theirs.decode(ids, **options)
            assert ours.batch_decode([ids], **options) == [theirs.decode(ids, **options)]
        assert ours.convert_ids_to_tokens(
            ids, skip_special_tokens=skip
        ) == theirs.convert_ids_to_tokens(ids, skip_special_tokens=skip)
    assert ours.tokenize(text) == theirs.tokenize(text)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.special_tokens_map == theirs.special_tokens_map


SETTINGS = [
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": True, "tokenize_chinese_chars": False},
    {"do_lower_case": True, "model_max_length": 40, "truncation_side": "left"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
def test_settings_of_a_vocab_txt(
    peer: Any, shared_data: pathlib.Path, tmp_path: pathlib.Path, settings: Any
) -> None:
    source = shared_data / "vocab" / "bert-base-uncased-vocab.txt"
    shutil.copy(source, tmp_path / "vocab.txt")
    written = json.dumps({"tokenizer_class": "BertTokenizer", **settings})
    (tmp_path / "tokenizer_config.json").write_text(written)
    ours = BertTokenizer.from_pretrained(tmp_path)
    ours.save_pretrained(tmp_path / "saved")
    text = "The Wörld 力加勝 É e\u0301 " * 8
    options = {"truncation": True, "return_offsets_mapping": True, "max_length": 16}
    for folder in (tmp_path, tmp_path / "saved"):
        theirs = peer.AutoTokenizer.from_pretrained(str(folder))
        assert compare(ours, theirs, (text,), options) == "same"
        assert compare(ours, theirs, (text, "wörld"), options) == "same"
        if "model_max_length" in settings:
            assert theirs.model_max_length == ours.model_max_length == 40


def test_steps_that_are_not_berts_are_saved_as_they_are(
    peer: Any, shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    source = shared_data / "hf_weights" / "tiny_bert_safetensors"
    ours = BertTokenizer.from_pretrained(source)
    ours.save_pretrained(tmp_path)
    shutil.copy(source / "config.json", tmp_path)
    theirs = peer.AutoTokenizer.from_pretrained(str(tmp_path))
    options = {"return_offsets_mapping": True, "padding": True}
    texts = ["The... ENERGYs 力加 [MASK]", "results, é"]
    assert compare(ours, theirs, (texts, texts[::-1]), options) == "same"
    assert theirs.model_max_length == ours.model_max_length == 128


def test_a_bert_with_the_pieces_of_xlm_r(peer: Any, tmp_path: pathlib.Path) -> None:
    pieces = ["▁", *"abcdefghijklmnop", "▁the", "▁dog", "ing", "▁a"]
    controls = ["<s>", "<pad>", "</s>", "<unk>"]
    scored = [(piece, -float(n)) for n, piece in enumerate([*controls, *pieces, "<mask>"])]
    theirs = peer.XLMRobertaTokenizer(vocab=scored)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    ours = BertTokenizer.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again = peer.AutoTokenizer.from_pretrained(str(tmp_path / "ours"))
    texts = ["the dog  <mask> backing", "a"], ["a 的 fé", "kl"]
    for options in (
        {"padding": True},
        # Its rows of overflow have type 1 where the template says 0.
        {
            "max_length": 10,
            "return_overflowing_tokens": True,
            "return_token_type_ids": False,
        },
    ):
        named = {"return_token_type_ids": True, **options, "return_offsets_mapping": True}
        for other in (theirs, again):
            assert compare(ours, other, texts, named) == "same"


def test_a_saved_sentencepiece_vocabulary(
    peer: Any, shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Other pieces are chosen only between ways to cut a word that score the same."""
    path = shared_data / "tokenization" / "squad-questions.json.gz"
    texts = [q["text"] for q in json.loads(gzip.decompress(path.read_bytes()))]
    config = TokenizerConfig(kind="sentencepiece", vocab_size=4000)
    ours = BertTokenizer(train_tokenizer(config, texts[:2000]))
    ours.save_pretrained(tmp_path)
    theirs = peer.AutoTokenizer.from_pretrained(str(tmp_path))
    texts = [*texts[:2000], "  Spaces\u00a0 ÄB ﬁne Ⅷ \0 \ufffd e\u0301 [MASK] İ "]
    mine, other = ours(texts).input_ids, theirs(texts).input_ids
    wrong = [n for n, row in enumerate(mine) if row != other[n]]
    assert len(wrong) <= 2
    assert len(texts) - 1 not in wrong
    for number in wrong:
        assert len(mine[number]) == len(other[number])
        assert sorted(mine[number]) == sorted(other[number])
