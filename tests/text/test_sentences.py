"""Sentence splitting: whole, stripped, and safe on any string."""

from __future__ import annotations

import pytest

from bert_jax.text.sentences import split_sentences
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
    ],
    ids=["empty", "blank", "nul", "surrogates", "stops", "brackets", "ten-megabyte-word"],
)
def test_any_string_is_split_without_loss(text: str) -> None:
    sentences = split_sentences(text, "en")
    assert all(s and s == s.strip() for s in sentences)
    assert "".join("".join(sentences).split()) == "".join(well_formed(text).split())


def test_well_formed() -> None:
    assert well_formed("plain é 漢") == "plain é 漢"
    assert well_formed("a\ud83d\ude00b\udc00") == "a😀b\ufffd"
