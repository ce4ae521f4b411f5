"""Sentence splitting: whole, stripped, and safe on any string."""

from __future__ import annotations

import gzip
import pathlib
from typing import Any

import pytest

from bert_jax.text import sentences as sentences_module
from bert_jax.text.sentences import MAX_PARAGRAPH_CHARACTERS, split_sentences
from bert_jax.text.unicode import well_formed


def test_abbreviations_and_numbers() -> None:
    text = "Mr. Smith paid $3.50 to Dr. Jones, e.g. for tea. Was it good? He liked it!"
    assert split_sentences(text, "en") == [
        "Mr. Smith paid $3.50 to Dr. Jones, e.g. for tea.",
        "Was it good?",
        "He liked it!",
    ]


def test_line_breaks_join_and_blank_lines_part() -> None:
    text = "A heading without a stop\n\nA sentence over\ntwo lines. Another\r\none."
    assert split_sentences(text, "en") == [
        "A heading without a stop",
        "A sentence over two lines.",
        "Another one.",
    ]


def test_list_numbers_stay_with_their_items() -> None:
    assert split_sentences("1. First thing. 2. Second thing.", "en") == [
        "1. First thing.",
        "2. Second thing.",
    ]


def test_other_languages() -> None:
    assert split_sentences("Das ist z.B. gut. Ja, sehr.", "de") == [
        "Das ist z.B. gut.",
        "Ja, sehr.",
    ]
    assert split_sentences("你好。我是学生。", "zh") == ["你好。", "我是学生。"]
    assert split_sentences("One here. Two there.", "no-such-language") == [
        "One here.",
        "Two there.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "\0",
        "\ud800 x. \udfffY.",
        "." * 20_000,
        "(" * 20_000,
        "x" * 10_000_000,
        "word and " * 1_000_000,
        "漢。" * 200_000,
        "“A. " * 200_000,
        "x. " + "... " * 300_000,
        "«" * 200_000,
        "\n\n" * 100_000,
    ],
    ids=[
        "empty",
        "blank",
        "nul",
        "surrogates",
        "stops",
        "brackets",
        "ten-megabyte-word",
        "nine-megabyte-line",
        "ideographs",
        "open-quotes",
        "ellipses",
        "guillemets",
        "blank-lines",
    ],
)
def test_any_string_is_split_without_loss(text: str) -> None:
    sentences = split_sentences(text, "en")
    assert all(s and s == s.strip() for s in sentences)
    assert "".join("".join(sentences).split()) == "".join(well_formed(text).split())


LONG = [
    "He came in. She did not. " * 1000,
    "He came in.\nShe did not,\nshe said. " * 1000,
    "你好。我是学生。" * 2000,
    "no stop at all " * 1000,
    "unbroken" * 2000,
]


def test_the_splitter_gets_short_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time grows with the square of a paragraph."""
    longest = 0
    segment = sentences_module.segment

    def spy(language: str, text: str) -> Any:
        nonlocal longest
        longest = max(longest, *map(len, text.split("\n\n")))
        return segment(language, text)

    monkeypatch.setattr(sentences_module, "segment", spy)
    for text in LONG:
        split_sentences(text, "en")
    assert MAX_PARAGRAPH_CHARACTERS / 2 < longest <= MAX_PARAGRAPH_CHARACTERS


def test_long_paragraphs_are_cut_between_sentences() -> None:
    assert set(split_sentences(LONG[0], "en")) == {"He came in.", "She did not."}
    assert set(split_sentences(LONG[1], "en")) == {"He came in.", "She did not, she said."}
    assert set(split_sentences(LONG[2], "zh")) == {"你好。", "我是学生。"}
    assert {word for s in split_sentences(LONG[3], "en") for word in s.split()} == {
        "no",
        "stop",
        "at",
        "all",
    }


def test_a_quotation_left_open_does_not_hold_a_book_together(
    shared_data: pathlib.Path,
) -> None:
    path = shared_data / "books" / "Cbronte_Villette_1853.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        sentences = split_sentences(file.read(), "en")
    # 1,355 of up to 71,756 characters when the novel is split as one paragraph.
    assert len(sentences) > 7000
    assert max(map(len, sentences)) < MAX_PARAGRAPH_CHARACTERS


def test_well_formed() -> None:
    assert well_formed("plain é 漢") == "plain é 漢"
    assert well_formed("a\ud83d\ude00b\udc00") == "a😀b\ufffd"
