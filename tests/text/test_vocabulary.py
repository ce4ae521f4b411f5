"""Training of vocabularies: the same again, bounded, honest about what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.vocabulary import sample_evenly, train_tokenizer

# Words drawn by a fixed rule, with many ties in their counts.
SCRIPT = """
import json, sys
from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.vocabulary import train_tokenizer
state, words = 1, []
for _ in range(20000):
    state = state * 1103515245 % 2**31
    words.append("".join(chr(97 + state // 31**k % 17) for k in range(2 + state % 6)))
texts = [" ".join(words[i : i + 50]) + " é漢." for i in range(0, len(words), 50)]
result = {}
for kind in ("wordpiece", "sentencepiece"):
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, vocab_size=400), texts)
    result[kind] = [tokenizer.sha256, tokenizer.vocab_size]
print(json.dumps(result))
"""


def test_every_process_trains_the_same_vocabulary(run_python: Callable[..., Any]) -> None:
    outputs = [run_python("-c", SCRIPT) for _ in range(3)]
    results = [json.loads(output.stdout) for output in outputs]
    assert results[0] == results[1] == results[2]
    assert results[0]["wordpiece"][1] == 400


def test_never_more_entries_than_asked_for() -> None:
    letters = "".join(chr(0x1F00 + i) for i in range(200))
    texts = [f"{a}{b} {b}{a}" for a in letters for b in letters[:20]]
    trained = train_tokenizer(TokenizerConfig(vocab_size=100, strip_accents=False), texts)
    assert trained.vocab_size <= 100


def test_a_small_corpus_gives_a_small_vocabulary() -> None:
    for kind in ("wordpiece", "sentencepiece"):
        texts = ["one two three two one"] * 3
        trained = train_tokenizer(TokenizerConfig(kind=kind, vocab_size=30522), texts)
        assert trained.vocab_size < 200
        assert trained.unk_id not in trained.encode("three two one")


def test_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no text"):
        train_tokenizer(TokenizerConfig(), ["", "  \n"])


def test_sentencepiece_says_in_one_line_what_it_cannot_do() -> None:
    texts = ["".join(chr(0x4E00 + i) for i in range(500))] * 3
    config = TokenizerConfig(kind="sentencepiece", vocab_size=64)
    with pytest.raises(ValueError, match=r"tokenizer\.vocab_size=64") as caught:
        train_tokenizer(config, texts)
    assert "\n" not in str(caught.value)


def test_a_rare_character_gets_no_entry_of_its_own() -> None:
    texts = ["a common sentence of plain words"] * 500 + ["ж"]
    trained = train_tokenizer(TokenizerConfig(vocab_size=300), texts)
    assert trained.token_to_id("ж") is None
    assert trained.token_to_id("w") is not None


def test_words_too_long_to_encode_do_not_shape_the_vocabulary() -> None:
    texts = ["xyz" * 100_000, "some words with spaces " * 100, "\ud800\0"]
    trained = train_tokenizer(TokenizerConfig(vocab_size=100), texts)
    assert trained.unk_id not in trained.encode("some words")
    assert trained.token_to_id("x") is None


def test_sentencepiece_takes_long_lines_without_spaces() -> None:
    texts = ["xyz" * 100_000, "some words with spaces " * 5_000, "\ud800\0"]
    config = TokenizerConfig(kind="sentencepiece", vocab_size=100)
    trained = train_tokenizer(config, texts)
    assert trained.unk_id not in trained.encode("some words xyzxyz")


def test_sample_is_all_of_a_small_corpus() -> None:
    texts = ["abc", "d" * 200_000, "", "e f\ng"]
    joined = b"".join(sample_evenly(texts, 10**9)).decode()
    assert joined.replace("\n", "") == "".join(texts).replace("\n", "")


def test_sample_of_a_large_corpus_is_even_and_bounded() -> None:
    texts = (f"{i:06d} " + "x" * 70_000 for i in range(1000))
    sample = sample_evenly(texts, 5_000_000)
    assert 1_500_000 < sum(map(len, sample)) <= 5_000_000
    heads = [int(chunk[:6]) for chunk in sample if chunk[:6].isdigit()]
    assert sum(h < 500 for h in heads) == pytest.approx(len(heads) / 2, abs=3)
