"""Files of every kind to documents, real ones and broken ones."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pathlib
import random
from typing import Any

import pytest
import zstandard

from bert_jax.corpora import text_files, text_readers
from bert_jax.corpora.documents import Document
from bert_jax.corpora.text_files import find_files, fingerprint
from bert_jax.corpora.text_lines import Counts
from bert_jax.corpora.text_readers import read_documents

WIKI = """<doc id="1" url="u" title="One &amp; Two">
One & Two

First paragraph.
Second paragraph.

</doc>
<doc id="2" url="u" title="Empty">
Empty

</doc>
<doc id="3" url="u" title="Three">
Three
Cut off at the end"""


def read(
    path: pathlib.Path, counts: Counts | None = None, **options: Any
) -> list[Document]:
    settings = {"feature": "text", "rule": "auto", "encoding_errors": "replace", **options}
    return list(
        read_documents(
            path, path.name, counts=Counts() if counts is None else counts, **settings
        )
    )


def write(path: pathlib.Path, content: bytes | str) -> pathlib.Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_wikiextractor_whatever_the_name(tmp_path: pathlib.Path) -> None:
    for name in ("wiki_00", "wiki.txt", "odd.jsonl"):
        counts = Counts()
        documents = read(write(tmp_path / name, WIKI), counts)
        assert [(d.title, d.text) for d in documents] == [
            ("One & Two", "First paragraph.\n\nSecond paragraph."),
            ("Three", "Cut off at the end"),
        ]
        assert counts.empty_documents == 1


def test_one_sentence_a_line(tmp_path: pathlib.Path) -> None:
    text = "First one.\nSecond one!\n\n\nAnother document.\nIts end?\n"
    path = write(tmp_path / "a.txt", text)
    assert [d.text for d in read(path)] == [
        "First one.\n\nSecond one!",
        "Another document.\n\nIts end?",
    ]
    assert len({d.title for d in read(path)}) == 2
    assert len(read(path, rule="file")) == 1


def test_wrapped_paragraphs_are_one_document(tmp_path: pathlib.Path) -> None:
    blocks = ["A line that is wrapped in\nthe middle of it.", "A second one that\ngoes on."]
    path = write(tmp_path / "a.txt", "\n\n\n\n".join(blocks) + "\n")
    assert [d.text for d in read(path)] == ["\n\n".join(blocks)]
    assert len(read(path, rule="blank_lines")) == 2


WRAPPED = "A paragraph that is wrapped in\nthe middle of its only sentence,\ntwice."

# blocks, what stands between two of them -> documents under auto
LAYOUTS = {
    "one-line documents": (
        [f"Document number {i}. It is short." for i in range(50)],
        1,
        50,
    ),
    "no full stops": ([f"document number {i}" for i in range(50)], 2, 50),
    "sentences a line": (["First one.\nSecond one!\nA third?"] * 50, 1, 50),
    "wrapped paragraphs": ([WRAPPED] * 50, 1, 1),
    "a book, a paragraph a line": (
        ["I", *["A paragraph."] * 40, "By one\nand another"],
        1,
        1,
    ),
    "chapters": (["A paragraph.", "Its chapter ends.\n\n\n\nII"] * 20, 1, 1),
    "one block": (["One.\nTwo.\nThree."], 1, 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("start", ["", "\n\n\n"])
def test_documents_of_a_layout(tmp_path: pathlib.Path, name: str, start: str) -> None:
    blocks, gap, expected = LAYOUTS[name]
    text = start + ("\n" * (gap + 1)).join(blocks) + "\n\n\n"
    path, counts = write(tmp_path / "a.txt", text), Counts()
    assert len(read(path, counts)) == expected
    is_cut = int(expected > 1)
    assert counts.files_cut_at_blank_lines == is_cut
    assert counts.files_as_one_document == 1 - is_cut
    assert len(read(path, rule="file")) == 1
    assert len(read(path, rule="blank_lines")) >= len(blocks)


def test_a_paragraph_a_line(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.txt", "word " * 60 + "end.\nShort one\n" + "word " * 60)
    assert read(path)[0].text.count("\n\n") == 2


def test_byte_order_mark_carriage_returns_and_nul(tmp_path: pathlib.Path) -> None:
    counts = Counts()
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\0 two\r\nthree\rfour\r\n")
    assert [d.text for d in read(path, counts)] == ["one two\nthree\nfour"]
    assert counts.nul_characters == 1
    with pytest.raises(ValueError, match="is UTF-16"):
        read(write(tmp_path / "b.txt", "some text".encode("utf-16")))


def test_json_lines(tmp_path: pathlib.Path) -> None:
    lines = [
        json.dumps({"text": "first", "title": "T"}),
        "",
        json.dumps({"text": "half \ud800 a pair \0", "title": 7}),
        json.dumps({"text": None}),
        json.dumps({"text": " "}),
    ]
    counts = Counts()
    documents = read(write(tmp_path / "a.jsonl", "\n".join(lines)), counts)
    assert [(d.title, d.text) for d in documents] == [
        ("T", "first"),
        ("a.jsonl#2", "half \ufffd a pair "),
    ]
    assert counts.empty_documents == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not one JSON object"),
        ("[1]", "line 1: no field 'text'"),
        ('{"body": "x"}', "line 1: no field 'text'"),
        ('{"text": 5}', "must be text"),
        ("[" * 200_000, "line 1: not one JSON object"),
    ],
)
def test_broken_json_lines_are_named(
    tmp_path: pathlib.Path, line: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(write(tmp_path / "a.jsonl", line))
    assert "a.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_compressed_files(tmp_path: pathlib.Path) -> None:
    record = json.dumps({"text": "some text"}).encode()
    packers = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": zstandard.compress,
    }
    for suffix, pack in packers.items():
        frames = pack(record + b"\n") + pack(record)
        path = write(tmp_path / f"a.jsonl.{suffix}", frames)
        assert [d.text for d in read(path)] == ["some text", "some text"]
        with pytest.raises(ValueError, match=r"cannot be (decompressed|read)"):
            read(write(tmp_path / f"b.jsonl.{suffix}", b"not compressed at all"))
        whole = pack(random.Random(0).randbytes(300_000).hex().encode())
        path = write(tmp_path / f"c.txt.{suffix}", whole)
        assert len(read(path)[0].text) == 600_000
        with pytest.raises(ValueError, match="cannot be decompressed"):
            read(write(path, whole[: len(whole) // 2]))


def test_bytes_that_are_not_utf8(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path / "a.txt", "kept \ufffd\n".encode() + "café naïve".encode("latin-1")
    )
    counts = Counts()
    assert read(path, counts)[0].text == "kept \ufffd\ncaf\ufffd na\ufffdve"
    assert counts.undecodable_bytes == 2
    with pytest.raises(ValueError, match=r"a\.txt: byte 12 is not UTF-8"):
        read(path, encoding_errors="refuse")


def test_documents_too_long_for_memory_are_cut(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_readers, "MAX_DOCUMENT_CHARACTERS", 1000)
    path = write(tmp_path / "a.txt", ("word " * 10 + "\n") * 100)
    documents = read(path)
    assert len(documents) > 4
    assert max(len(d.text) for d in documents) <= 1100
    assert "".join(d.text for d in documents).split() == path.read_text().split()
    one_line = read(write(tmp_path / "b.txt", "x" * 2500))
    assert "".join(d.text for d in one_line) == "x" * 2500
    ids = [d.id for d in documents + one_line]
    assert len(ids) == len(set(ids))


def test_ten_megabyte_line(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.txt", "x" * 10_000_000)
    assert sum(len(d.text) for d in read(path)) == 10_000_000


def test_find_files(tmp_path: pathlib.Path) -> None:
    for name in ("a/x.txt", "b/x.txt.gz", "b/y.txt", "b/y.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, name)
    some = find_files(f"{tmp_path}/**/*.txt")
    assert [name for name, _ in some] == ["a/x", "b/y"]
    everything = find_files(str(tmp_path))
    assert [name for name, _ in everything] == [
        "a/x.txt",
        "b/x.txt.gz",
        "b/y.md",
        "b/y.txt",
    ]
    with pytest.raises(ValueError, match="matches no file"):
        find_files(f"{tmp_path}/*.txt")


def test_fingerprint_is_of_names_contents_and_settings(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "x.txt", "some text")
    before = fingerprint(str(path), "auto")
    assert fingerprint(str(tmp_path / "*.txt"), "auto") == before
    assert fingerprint(str(path), "file") != before
    write(path, "some Text")
    assert fingerprint(str(path), "auto") != before


def test_a_file_that_stays_is_read_once_for_its_fingerprint(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_again: list[pathlib.Path] = []
    real = text_files._read_sha256

    def spy(path: pathlib.Path) -> str:
        read_again.append(path)
        return real(path)

    monkeypatch.setattr(text_files, "_read_sha256", spy)
    path = write(tmp_path / "x.txt", "some text")
    # Just written, it may change again within the same tick of the clock.
    before = fingerprint(str(path), "auto")
    assert fingerprint(str(path), "auto") == before
    assert len(read_again) == 2
    monkeypatch.setattr(text_files, "SETTLED_SECONDS", 0.0)
    assert {fingerprint(str(path), "auto") for _ in range(3)} == {before}
    assert fingerprint(str(path), "file") != before
    assert len(read_again) == 3
    write(path, "some other text")
    assert fingerprint(str(path), "auto") != before
    assert len(read_again) == 4


def test_real_files(shared_data: pathlib.Path) -> None:
    counts = Counts()
    wiki = read(shared_data / "wiki" / "wiki_01.gz", counts)
    assert wiki[0].title == "Alaska"
    assert wiki[0].text.startswith("Alaska (; ; ;")
    assert "</doc>" not in "".join(d.text for d in wiki)
    sample = read(shared_data / "sample_text" / "sample_text.txt")
    assert len(sample) == 3
    books = sorted((shared_data / "books").iterdir())
    assert {path.name for path in books if len(read(path)) > 1} == set()
    book = read(shared_data / "books" / "Hardy_Tess_1891.txt.gz")
    assert not book[0].text.startswith("\ufeff")
    assert "\r" not in book[0].text
    latin = shared_data / "gutenberg_raw" / "sherlock_1661-latin1.txt.gz"
    assert len(read(latin, counts)) == 1
    assert counts.undecodable_bytes > 0
    with pytest.raises(ValueError, match="is not UTF-8"):
        read(latin, encoding_errors="refuse")
