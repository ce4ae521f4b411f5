"""Remembered words: the same ids as the library's, whatever the text, in bounded memory."""

from __future__ import annotations

import gzip
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import pytest

from bert_jax.text import word_memory
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.rust_backed import RustBacked
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

FOLDINGS = [(True, True), (True, False), (False, False)]
TOKENS = (*CONTROL_TOKENS, "ab", "cd", "##cd", "e", "##e", "[", "]", "mask")

HOSTILE = [
    "",
    "  two  spaces  ",
    "ab\tcd\nab\r\ncd\u00a0ab\u2003cd\u2028ab\x0bcd\x1cab\x85cd",
    "a\0b\x01cd\u200bab\ufeffcd\ufffdcd",
    "lone \ud800 surrogate, \ud83d\ude00 a pair",
    "abécd e\u0301 \u0301cd .\u0301ab “\u0301cd”",
    "ΑΣ ΑΣ. İSTANBUL ǅ ß ﬁ ½ Ω é·cd",
    "中文「你好」。ab中cd㐀豈々〇，ＡＢ！",
    "emoji 😀👩‍👩‍👧🇫🇷 العربية עברית ไทย 한국어 がギ",
    "[MASK] [CLS]ab[SEP] ##cd ab##cd",
    "e" * 99 + " " + "e" * 101 + " " + "e" * 100 + ".",
    "." * 3000 + "e\u0301" * 3000,
]


def by_the_library(
    tokenizer: WordPieceTokenizer, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    return RustBacked.encode_batch(tokenizer, texts)


def assert_same(tokenizer: WordPieceTokenizer, texts: Sequence[str]) -> None:
    found, wanted = tokenizer.encode_batch(texts), by_the_library(tokenizer, texts)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("lowercase", "strip_accents"), FOLDINGS)
def test_what_is_taken_to_stand_alone_does(lowercase: bool, strip_accents: bool) -> None:
    tokenizer = WordPieceTokenizer(TOKENS, lowercase=lowercase, strip_accents=strip_accents)
    alone = re.compile(f"[{word_memory.ALONE}]")
    # All punctuation, one ideograph in eight.
    places = [*range(0x3400), *range(0x3400, 0x9FFF + 1, 8), *range(0xA000, 0x10000)]
    characters = [c for c in map(chr, places) if alone.fullmatch(c)]
    assert len(characters) > 3000
    joined = by_the_library(tokenizer, [f"ab{c}cd" for c in characters])
    apart = by_the_library(tokenizer, [f"ab {c} cd" for c in characters])
    for one, other in zip(joined, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    # Negative control: a letter does not.
    joined, apart = (by_the_library(tokenizer, [text]) for text in ("abécd", "ab é cd"))
    assert joined[0].tolist() != apart[0].tolist()


@pytest.mark.parametrize(("lowercase", "strip_accents"), FOLDINGS)
def test_hostile_text(lowercase: bool, strip_accents: bool) -> None:
    tokenizer = WordPieceTokenizer(TOKENS, lowercase=lowercase, strip_accents=strip_accents)
    assert_same(tokenizer, HOSTILE)
    assert_same(tokenizer, HOSTILE[::-1])
    assert_same(tokenizer, [])


@pytest.mark.parametrize("max_parts", [word_memory.MAX_PARTS, 50])
def test_real_text(
    shared_data: pathlib.Path, monkeypatch: pytest.MonkeyPatch, max_parts: int
) -> None:
    monkeypatch.setattr(word_memory, "MAX_PARTS", max_parts)
    tokenizer = load_tokenizer(shared_data / "vocab" / "bert-base-uncased-vocab.txt")
    assert isinstance(tokenizer, WordPieceTokenizer)
    for name in ("wiki/wiki_00.gz", "gutenberg_raw/dickens_music_16595-latin1.txt.gz"):
        encoding = "latin-1" if "latin1" in name else "utf-8"
        with gzip.open(shared_data / name, "rt", encoding=encoding) as file:
            lines = file.read(200_000).splitlines(keepends=True)
        assert_same(tokenizer, lines)
        assert_same(tokenizer, ["".join(lines)])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_memory, "MAX_PARTS", 100)
    tokenizer = WordPieceTokenizer(TOKENS)
    words = tokenizer._memory._words
    tokenizer.encode_batch(["ab cd"])
    assert set(words) == {"ab", "cd"}
    tokenizer.encode_batch(["e" * 1000])
    assert set(words) == {"ab", "cd"}
    assert_same(tokenizer, [f"ab{n}" for n in range(1000)])
    assert 0 < len(words) <= 100
