"""Where tokens stand: in the text as it was given, whatever folding did to it."""

from __future__ import annotations

import gzip
import json
import pathlib
import unicodedata
from typing import Any

import pytest

from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.folding import fold, fold_with_places
from bert_jax.text.unicode import original_places, well_formed
from bert_jax.text.unigram import SentencePieceTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

HOSTILE = [
    "",
    "plain",
    "ÄÖÜ Éa e\u0301x \u0301lone",
    "nul \0 inside \ufffd and after",
    "İstanbul ΣΊΣΥΦΟΣ straße ﬁne Ⅷ",
    "한국어 \u1112\u1161\u11ab 力加勝北区",
    "z" + "\u0301" * 50 + "x",
    "\u0928\u093c \u1025\u102e \u09c7\u09be",  # composed of parts that are no marks
    "\U0001d15e\U0001d165 \U00011131\U00011127",
    "emoji 😀👩‍👩‍👧 ok",
    "half \ud800 and \udfff, \ud83d\ude00 a pair é",
]


@pytest.fixture(scope="module")
def uncased(shared_data: pathlib.Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(
        shared_data / "vocab" / "bert-base-uncased-vocab.txt"
    )


@pytest.fixture(scope="module")
def unigram(unigram_model: bytes) -> BertTokenizer:
    return BertTokenizer(SentencePieceTokenizer(unigram_model))


def folded(text: str, lowercase: bool) -> str:
    if not lowercase:
        return text
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def check_rows(tokenizer: BertTokenizer, texts: list[str]) -> int:
    """Asserts that each token is the text at its place; returns how many were compared."""
    low = tokenizer.do_lower_case
    batch = tokenizer(texts, return_offsets_mapping=True, add_special_tokens=False)
    compared = 0
    for number, (text, offsets) in enumerate(zip(texts, batch.offset_mapping, strict=True)):
        last = 0
        for token, (start, stop) in zip(batch.tokens(number), offsets, strict=True):
            assert last <= start < stop <= len(text)
            last = stop
            if token != "[UNK]":
                piece = token.removeprefix("##") if token != "##" else token
                given = text[start:stop]
                found = given if token in CONTROL_TOKENS else folded(given, low)
                assert found == piece, (text, token, start, stop)
                compared += 1
    return compared


def test_published_cases(shared_data: pathlib.Path) -> None:
    cases = json.loads((shared_data / "tokenization" / "cases.json").read_text())
    for case in cases["full"]:
        entries = [*case["vocab"], *(c for c in CONTROL_TOKENS if c not in case["vocab"])]
        made = BertTokenizer(WordPieceTokenizer(entries, lowercase=case["lower_case"]))
        assert check_rows(made, [case["text"]]) == len(case["tokens"])
    for name in ("bert-base-uncased", "bert-base-cased"):
        made = BertTokenizer.from_pretrained(shared_data / "vocab" / f"{name}-vocab.txt")
        texts = [case["text"] for case in cases["real_vocab"] if case["vocab"] == name]
        assert check_rows(made, texts) > len(texts)


def test_all_squad_questions(shared_data: pathlib.Path, uncased: BertTokenizer) -> None:
    path = shared_data / "tokenization" / "squad-questions.json.gz"
    texts = [q["text"] for q in json.loads(gzip.decompress(path.read_bytes()))]
    assert check_rows(uncased, texts) > 80_000


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text(uncased: BertTokenizer, unigram: BertTokenizer, text: str) -> None:
    for tokenizer in (uncased, unigram):
        batch = tokenizer([text], [text], return_offsets_mapping=True)
        row = zip(batch.sequence_ids(), batch.offset_mapping[0], strict=True)
        places = [span for sequence, span in row if sequence == 0]
        assert all(0 <= start <= stop <= len(text) for start, stop in places)
        starts = [start for start, _ in places]
        assert starts == sorted(starts)


def test_a_joined_pair_was_two_characters(uncased: BertTokenizer) -> None:
    text = "é \ud83d\ude00 café \ud800 end"
    batch = uncased(text, return_offsets_mapping=True)
    spans = [text[start:stop] for start, stop in batch.offset_mapping[1:-1]]
    assert spans == ["é", "\ud83d\ude00", "café", "end"]
    words = uncased(["\ud83d\ude00x", "end"], is_split_into_words=True)
    assert words.token_to_chars(words.word_to_tokens(1).start) == (0, 3)
    split = ["a", "b \ud83d\ude00", "end"]
    mapping = uncased(split, is_split_into_words=True, return_offsets_mapping=True)
    assert mapping.offset_mapping[1:-1] == [(0, 1), (0, 1), (2, 4), (0, 3)]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_places_of_cleaned_text(text: str) -> None:
    clean = well_formed(text)
    places = original_places(text)
    assert len(places) == len(clean) + 1
    assert places[-1] == len(text)
    for index, character in enumerate(clean):
        given = text[places[index] : places[index + 1]]
        assert character in (given, "\ufffd") or len(given) == 2


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("strip_accents", [False, True])
def test_places_of_folded_text(lowercase: bool, strip_accents: bool) -> None:
    for text in map(well_formed, HOSTILE):
        made, starts, stops = fold_with_places(text, lowercase, strip_accents)
        assert made == fold(text, lowercase, strip_accents)
        assert len(starts) == len(stops) == len(made)
        for character, start, stop in zip(made, starts, stops, strict=True):
            assert start < stop
            again = fold(text[start:stop], lowercase, strip_accents)
            assert character in again or character in "σς", (text, character)


def test_pieces_of_sentencepiece_stand_without_their_spaces(unigram: BertTokenizer) -> None:
    text = "  The  ÄPFEL, [MASK] o\u0308l\u00a0in Köln "
    batch = unigram(text, return_offsets_mapping=True)
    spans: list[Any] = batch.offset_mapping
    assert unigram.decode(batch.input_ids, skip_special_tokens=True).split()[0] == "the"
    words: dict[int, list[str]] = {}
    for word, (start, stop) in zip(batch.word_ids(), spans, strict=True):
        if word is not None and stop > start:
            words.setdefault(word, []).append(text[start:stop])
    joined = ["".join(parts) for parts in words.values()]
    assert joined == ["The", "ÄPFEL,", "[MASK]", "o\u0308l", "in", "Köln"]
    assert batch.word_ids()[0] is None
    split = unigram(
        ["Äpfel", "", "[MASK]"], is_split_into_words=True, return_offsets_mapping=True
    )
    numbers = [word for word in split.word_ids() if word is not None]
    assert sorted(set(numbers)) == [0, 2]
    assert split.offset_mapping[-2] == (0, 6)


def test_unknown_pieces_stay_in_their_words(unigram: BertTokenizer) -> None:
    batch = unigram("th的e q的k")
    assert unigram.unk_token_id in batch.input_ids
    words = [word for word in batch.word_ids() if word is not None]
    assert words == sorted(words)
    assert set(words) == {0, 1}


def test_ids_of_sentencepiece_do_not_depend_on_the_way_in(unigram: BertTokenizer) -> None:
    texts = ["The quick Fox", "Öl in Köln; zebra"]
    ids, offsets = unigram.tokenizer.encode_batch(texts)
    rows = unigram(texts, add_special_tokens=False).input_ids
    assert [ids[offsets[n] : offsets[n + 1]].tolist() for n in range(2)] == rows
    pair = unigram(*texts, max_length=20, truncation="only_first")
    assert len(pair.input_ids) == 20
    assert pair.token_type_ids.count(1) == len(rows[1]) + 1
