"""What is taken out of documents, what is left alone, and how long it takes at worst."""

from __future__ import annotations

import pathlib
import pickle
import time
from collections import Counter

import pytest

from bert_jax.corpora.cleaning import KINDS, clean, make_cleaner
from bert_jax.corpora.documents import Document
from bert_jax.corpora.text_lines import Counts
from bert_jax.corpora.text_readers import read_documents


def cleaned(text: str, kind: str, title: str = "") -> tuple[str, dict[str, int]]:
    counts: Counter[str] = Counter()
    return clean(text, kind, counts, title=title), dict(counts)


PLAIN = {
    "bell\x07 and escape\x1b[0m": ("bell and escape[0m", {"control_characters": 2}),
    "a page\x0cthe next\x0bone": ("a page\nthe next\none", {"control_characters": 2}),
    "One.\n----------\nTwo.": ("One.\n\nTwo.", {"lines_of_one_character": 1}),
    "- - - - - - - - - - -": ("", {"lines_of_one_character": 1}),
    "x" * 1_000_000: ("", {"lines_of_one_character": 1}),
    "═" * 40 + "\r": ("", {"lines_of_one_character": 1}),
}

WIKIPEDIA = {
    "Seen [[File:A.jpg|thumb|a [[nested]] one]] here.": (
        "Seen  here.",
        {"file_and_category_links": 1},
    ),
    "In [[Hungary|the country]] of [[Sopron]].": (
        "In the country of Sopron.",
        {"links": 2},
    ),
    "A{{refn|{{cite|x}}}} fact.": ("A fact.", {"templates": 2}),
    'Said.<ref name="a/b">Smith, <i>2009</i></ref> Then.<ref name=x/>': (
        "Said. Then.",
        {"html_tags": 2},
    ),
    "One<br>two<!-- a - note --> <small>three</small>": (
        "One\ntwo three",
        {"html_tags": 4},
    ),
    "R&amp;B, &lt;onlyinclude&gt;x&amp;nbsp;y": (
        "R&B, x y",
        {"html_entities": 5, "html_tags": 1},
    ),
    '{|\n|-\n| a\n! scope="row"| 2016\n|}\nProse.': ("Prose.", {"table_lines": 5}),
    "== History ==\nIt began.": ("History\nIt began.", {"heading_marks": 1}),
    "End.\nCategory:1967 births\n[[Category:People]]": (
        "End.\n",
        {"category_lines": 1, "file_and_category_links": 1},
    ),
    "Madi () is, ( ; ) too (; born 1950) and (, UCOR).": (
        "Madi is, too (born 1950) and (UCOR).",
        {"empty_parentheses": 4},
    ),
    "__NOTOC__It is.": ("It is.", {"magic_words": 1}),
}

# What looks like markup and is prose.
PROSE = [
    "printf() and main(void) are functions; a < b and c > d.",
    "AT&T, R&B; x & y; if a[0] is [b]",
    "He wrote: Category theory. Files: three.",
    "A smile (: and a list (a, b). What?! No!",
    "a = b == c\nand d",
    "He said * * * nothing.\n* * * * *\nThen --- he left.",
    "Produced",
    "The End of Project, by Gutenberg",
]

HEADER = """The Project Gutenberg EBook of A Book, by A. Writer

Title: A Book

*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK OF A VERY LONG
TITLE ***


Produced by A Volunteer and the Online
Distributed Proofreading Team at http://www.pgdp.net

[Transcriber's Note: Some words
were changed.]

CHAPTER I

It began. [Illustration: A house]
"""
FOOTER = "\n\nEnd of Project Gutenberg's A Book\n\n*** END OF THIS PROJECT GUTENBERG EBOOK"
OLD_HEADER = """**Welcome To The World of Free Plain Vanilla Electronic Texts**
***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this "Small Print!" statement here?
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

CHAPTER I
"""


@pytest.mark.parametrize("text", PLAIN, ids=range(len(PLAIN)))
def test_plain(text: str) -> None:
    assert cleaned(text, "plain") == PLAIN[text]
    assert cleaned(text, "none") == (text, {})


@pytest.mark.parametrize("text", WIKIPEDIA, ids=range(len(WIKIPEDIA)))
def test_wikipedia(text: str) -> None:
    assert cleaned(text, "wikipedia") == WIKIPEDIA[text]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", PROSE)
def test_prose_is_left_alone(text: str, kind: str) -> None:
    assert clean(text, kind, Counter()) is text


def test_gutenberg() -> None:
    found, counts = cleaned(HEADER + FOOTER + " A BOOK ***\nSection 1.", "gutenberg")
    assert found == "CHAPTER I\n\nIt began."
    assert counts == {
        "gutenberg_headers": 1,
        "gutenberg_footers": 1,
        "production_notes": 1,
        "transcriber_notes": 1,
        "illustration_marks": 1,
    }
    assert cleaned(OLD_HEADER + "It began.", "gutenberg")[0] == "CHAPTER I\nIt began."
    notes = "It ended.\n\nTRANSCRIBER'S NOTES\n\nPage 1: a typo."
    assert cleaned("x\n" * 4000 + notes, "gutenberg")[0].endswith("x\nIt ended.")


def test_pages_without_text_are_dropped_and_counted() -> None:
    clean_page = pickle.loads(pickle.dumps(make_cleaner("wikipedia")))
    dropped = {
        "#REDIRECT Somewhere": "redirect_pages",
        "#WEITERLEITUNG [[Irgendwo]]": "redirect_pages",
        "A &amp; B": "heading_only_pages",
        "A & B\n== History ==\n== See also ==": "heading_only_pages",
        "{{stub}}": "documents_empty_when_cleaned",
    }
    for text, name in dropped.items():
        found, counts = clean_page(Document("1", "A & B", text))
        assert found is None
        assert counts[name] == 1
    kept = Document("1", "A & B", "#1 was a song.")
    assert clean_page(kept) == (kept, {})
    assert clean_page(kept)[0] is kept
    empty = Document("2", "T", "\x01 ")
    assert make_cleaner("plain")(empty)[0] is None
    assert make_cleaner("none")(empty) == (empty, {})


HOSTILE = [
    *("<ref>", "<ref", "<!--", "{{", "{{a", "[[", "[[File:", "[[File:[[", "[[a|"),
    *("&", "&a", "(", " (;", "( ", "=", "=\n", "==a==\n", "= a ", "\n|", "\n!", "\n! |"),
    *("__A", "File:|\n", "\n", " ", " \n", "*", "*END", "[Illustration:", "漢", "\0"),
    *("*** START OF THE PROJECT GUTENBERG", "Produced by\n", "TRANSCRIBER'S NOTE\n"),
    *("[Transcriber's Note:", "e\u0301"),
]


@pytest.mark.parametrize("kind", ["plain", "wikipedia", "gutenberg"])
def test_time_grows_with_the_text_alone(kind: str) -> None:
    slow = []
    for unit in HOSTILE:
        start = time.process_time()
        cleaned("x " + unit * (200_000 // len(unit)) + " y", kind)
        # Tens of milliseconds where it is linear, minutes where it is not.
        if time.process_time() - start > 5.0:
            slow.append(unit)
    assert slow == []


@pytest.mark.parametrize(
    ("folder", "kind", "most_changed", "most_removed"),
    # Pages of Wikipedia: mostly entities and empty parentheses that were left there.
    [("books", "gutenberg", 0.0, 0.0), ("wiki", "wikipedia", 0.2, 0.005)],
)
def test_real_text_comes_back_as_it_was(
    shared_data: pathlib.Path,
    folder: str,
    kind: str,
    most_changed: float,
    most_removed: float,
) -> None:
    clean_document = make_cleaner(kind)
    documents = changed = characters = removed = 0
    for path in sorted((shared_data / folder).iterdir())[:6]:
        settings = {"feature": "text", "rule": "auto", "encoding_errors": "replace"}
        for document in read_documents(path, path.name, counts=Counts(), **settings):
            found, _ = clean_document(document)
            documents += 1
            characters += len(document.text)
            changed += found is not document
            removed += len(document.text) - (len(found.text) if found else 0)
            # What is clean stays so.
            assert found is None or clean_document(found)[0] is found
    print(f"{folder}: {changed} of {documents} changed, {removed / characters:.2%} removed")
    assert changed <= most_changed * documents
    assert 0 <= removed <= most_removed * characters


def test_real_gutenberg_files(shared_data: pathlib.Path) -> None:
    for path in sorted((shared_data / "gutenberg_raw").iterdir()):
        settings = {"feature": "text", "rule": "file", "encoding_errors": "replace"}
        (document,) = read_documents(path, path.name, counts=Counts(), **settings)
        found, counts = make_cleaner("gutenberg")(document)
        assert found is not None
        assert counts["gutenberg_headers"] == counts["gutenberg_footers"] == 1
        assert "Gutenberg" in document.text
        for word in ("Gutenberg", "GUTENBERG", "Produced by", "[Illustration", "pgdp"):
            assert word not in found.text
        assert 0.85 < len(found.text) / len(document.text) < 0.97
