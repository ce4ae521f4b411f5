"""Both kinds of tokenizer: published cases, control tokens, hostile text, files."""

from __future__ import annotations

import gzip
import json
import pathlib
import pickle
from typing import Any

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.rust_backed import bert_normalizer
from bert_jax.text.tokenizer import Tokenizer, load_given_tokenizer, load_tokenizer
from bert_jax.text.vocabulary import train_tokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog, again and again.",
    "A tokenizer turns the words of a text into numbers; then it turns numbers into words.",
    "Paris is the capital of France. Berlin is the capital of Germany.",
    "Masked words must be found again: the [MASK] is only four letters in a text.",
] * 20

HOSTILE = [
    "",
    "   \t\r\n ",
    "nul \0 inside",
    "lone \ud800 surrogate and \udfff another, \ud83d\ude00 a pair",
    "emoji 😀👩‍👩‍👧 and flags 🇫🇷",
    "力加勝北区 ছজটডণত العربية עברית ไทย",
    "\ufeffbom at the front, \u2028 line separator, \u00a0 no-break space",
    "z" + "\u0301" * 5000,
    "a" * 300_000,
    "( " * 50_000,
    "word " * 20_000,
]


@pytest.fixture(scope="module", params=["wordpiece", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(TokenizerConfig(kind=request.param, vocab_size=200), TEXTS)


@pytest.fixture(scope="module")
def cases(shared_data: pathlib.Path) -> dict[str, Any]:
    return json.loads((shared_data / "tokenization" / "cases.json").read_text())


def with_controls(vocab: list[str]) -> list[str]:
    return vocab + [token for token in CONTROL_TOKENS if token not in vocab]


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.id_to_token(int(i)) for i in tokenizer.encode_batch([text])[0]]


def test_published_cases_with_their_own_vocabularies(cases: dict[str, Any]) -> None:
    for case in cases["full"]:
        made = WordPieceTokenizer(
            with_controls(case["vocab"]), lowercase=case["lower_case"]
        )
        assert made.encode_batch([case["text"]])[0].tolist() == case["ids"], case
    for case in cases["wordpiece"]:
        made = WordPieceTokenizer(with_controls(case["vocab"]))
        assert tokens_of(made, case["text"]) == case["tokens"], case


def test_published_cases_of_word_splitting(cases: dict[str, Any]) -> None:
    for case in cases["basic"]:
        low = case["lower_case"]
        folded = bert_normalizer(low, low).normalize_str(case["text"])
        words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(folded)
        assert [word for word, _ in words] == case["tokens"], case


def test_published_cases_with_the_released_vocabularies(
    cases: dict[str, Any], shared_data: pathlib.Path
) -> None:
    made = {
        name: load_tokenizer(shared_data / "vocab" / f"{name}-vocab.txt", lowercase=low)
        for name, low in (("bert-base-uncased", True), ("bert-base-cased", False))
    }
    for case in cases["real_vocab"]:
        assert tokens_of(made[case["vocab"]], case["text"]) == case["tokens"], case


def test_all_squad_questions_have_the_published_ids(shared_data: pathlib.Path) -> None:
    tokenizer = load_tokenizer(shared_data / "vocab" / "bert-base-uncased-vocab.txt")
    path = shared_data / "tokenization" / "squad-questions.json.gz"
    questions = json.loads(gzip.decompress(path.read_bytes()))
    ids, offsets = tokenizer.encode_batch([question["text"] for question in questions])
    assert ids.dtype == np.int32
    assert offsets.dtype == np.int64
    expected = [question["ids"] for question in questions]
    assert offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert ids.tolist() == [index for row in expected for index in row]


def test_control_tokens_written_in_plain_text_stay_letters(tokenizer: Tokenizer) -> None:
    text = "the [MASK] of [SEP] and [PAD] the [CLS] word [UNK]"
    plain = set(tokenizer.encode_batch([text])[0].tolist())
    assert not plain & {tokenizer.mask_id, tokenizer.sep_id, tokenizer.cls_id, 0}
    meant = tokenizer.encode(text)
    assert {2, 3, 4, 0} <= set(meant)
    assert meant.count(tokenizer.mask_id) == 1


def test_control_ids_are_the_first_five(tokenizer: Tokenizer) -> None:
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert [tokenizer.id_to_token(i) for i in range(5)] == list(CONTROL_TOKENS)
    assert tokenizer.token_to_id("[MASK]") == tokenizer.mask_id == 4
    assert tokenizer.token_to_id("surely not an entry") is None
    with pytest.raises(ValueError, match="must be in"):
        tokenizer.id_to_token(tokenizer.vocab_size)


def test_word_starts(tokenizer: Tokenizer) -> None:
    starts = tokenizer.word_starts_V
    assert starts.shape == (tokenizer.vocab_size,)
    assert starts[:5].all()
    assert 0 < starts.sum() < tokenizer.vocab_size
    ids = tokenizer.encode_batch(["jumpsdog jumps dog"])[0]
    assert starts[ids].sum() == 3


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_gives_valid_ids(tokenizer: Tokenizer, text: str) -> None:
    ids, offsets = tokenizer.encode_batch(["the dog", text, "the dog"])
    assert offsets.shape == (4,)
    assert ((ids >= 0) & (ids < tokenizer.vocab_size)).all()
    assert ids[: offsets[1]].tolist() == ids[offsets[2] :].tolist()
    tokenizer.decode(tokenizer.encode(text))


def test_case_and_accents_fold(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("PÁRIS") == tokenizer.encode("paris")
    kept = train_tokenizer(
        TokenizerConfig(kind=tokenizer.kind, vocab_size=200, lowercase=False), TEXTS
    )
    assert kept.encode("PARIS") != kept.encode("paris")
    assert not kept.strip_accents


def test_decode_gives_the_text_back(tokenizer: Tokenizer) -> None:
    assert (
        tokenizer.decode(tokenizer.encode("the lazy dog, again.")) == "the lazy dog, again."
    )
    ids = [tokenizer.cls_id, *tokenizer.encode("the dog"), tokenizer.sep_id]
    assert tokenizer.decode(ids) == "[CLS] the dog [SEP]"
    assert tokenizer.decode(ids, skip_special=True) == "the dog"


def test_saved_and_pickled_copies_are_equal(
    tokenizer: Tokenizer, tmp_path: pathlib.Path
) -> None:
    tokenizer.save(tmp_path / "t")
    text = "the [MASK] of Páris and an unseen zebra"
    for copy in (load_tokenizer(tmp_path / "t"), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.sha256 == tokenizer.sha256
        assert copy.kind == tokenizer.kind
        assert copy.encode(text) == tokenizer.encode(text)
        assert (copy.word_starts_V == tokenizer.word_starts_V).all()


def test_settings_that_others_read(tokenizer: Tokenizer, tmp_path: pathlib.Path) -> None:
    tokenizer.save(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    names = json.loads((tmp_path / "special_tokens_map.json").read_text())
    assert list(names.values()) == list(CONTROL_TOKENS)
    assert settings.items() >= names.items()
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    if tokenizer.kind == "sentencepiece":
        assert description["model"]["type"] == "Unigram"
        assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
        return
    WordPieceTokenizer([*CONTROL_TOKENS, "Dog"], lowercase=False).save(tmp_path / "cased")
    cased = json.loads((tmp_path / "cased" / "tokenizer_config.json").read_text())
    for found, low in ((settings, True), (cased, False)):
        assert found["tokenizer_class"] == "BertTokenizer"
        assert found["do_lower_case"] is found["strip_accents"] is low
        assert found["tokenize_chinese_chars"] is True


def test_digest_depends_on_entries_and_folding() -> None:
    entries = [*CONTROL_TOKENS, "a", "b"]
    digests = {
        WordPieceTokenizer(entries).sha256,
        WordPieceTokenizer([*CONTROL_TOKENS, "b", "a"]).sha256,
        WordPieceTokenizer(entries, lowercase=False).sha256,
        WordPieceTokenizer(entries, strip_accents=False).sha256,
    }
    assert len(digests) == 4


def test_another_format_version_is_refused(
    tokenizer: Tokenizer, tmp_path: pathlib.Path
) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    with pytest.raises(ValueError, match="format_version=99 must be 1"):
        load_tokenizer(tmp_path)


def test_lowercasing_a_cased_vocabulary_is_refused(shared_data: pathlib.Path) -> None:
    path = shared_data / "vocab" / "bert-base-cased-vocab.txt"
    with pytest.raises(ValueError, match=r"tokenizer\.lowercase=True must be False"):
        load_tokenizer(path, lowercase=True)
    assert not load_tokenizer(path).lowercase
    assert load_tokenizer(path.with_name("bert-base-uncased-vocab.txt")).lowercase


@pytest.mark.parametrize(
    ("saved", "asked", "said"),
    [
        ({}, {"kind": "sentencepiece"}, "kind='sentencepiece' must be 'wordpiece'"),
        ({"lowercase": False}, {}, "lowercase=True must be False"),
        ({}, {"lowercase": False}, "lowercase=False must be True"),
        ({"strip_accents": False}, {}, "strip_accents=True must be False"),
        ({}, {"strip_accents": False}, "strip_accents=False must be True"),
    ],
)
def test_a_given_tokenizer_must_be_what_is_said_of_it(
    tmp_path: pathlib.Path, saved: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    WordPieceTokenizer([*CONTROL_TOKENS, "dog"], **saved).save(tmp_path)
    with pytest.raises(ValueError) as caught:
        load_given_tokenizer(TokenizerConfig(path=str(tmp_path), **asked))
    assert f"tokenizer.{said}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_given_tokenizer_that_is_what_is_said_of_it(tmp_path: pathlib.Path) -> None:
    for folding in ({}, {"lowercase": False}, {"strip_accents": False}):
        made = WordPieceTokenizer([*CONTROL_TOKENS, "dog"], **folding)
        made.save(tmp_path / "t")
        # A bare vocab.txt says nothing: what is asked for holds.
        for path in (tmp_path / "t", tmp_path / "t" / "vocab.txt"):
            config = TokenizerConfig(path=str(path), **folding)
            assert load_given_tokenizer(config).sha256 == made.sha256
