"""Hostile text through readers, builder, cleaning, sentences and ids: whole and bounded."""

from __future__ import annotations

import gzip
import pathlib
from typing import Any

import pytest

from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora import text_lines, text_readers
from bert_jax.corpora.cleaning import make_cleaner
from bert_jax.corpora.sources import open_source
from bert_jax.corpora.text_lines import Counts
from bert_jax.corpora.text_readers import read_documents
from bert_jax.text.sentences import split_sentences

WORDS = {
    "emoji": "👩‍👩‍👧‍👦 is a family. 🏳️‍🌈!",
    "cjk": "你好。我是学生。東京へ行く。",
    "right to left": "שלום עולם. مرحبا بالعالم؟ \u202eabc\u202c.",
    "combining": "e\u0301" + "\u0300\u0301\u0302" * 50 + "x.",
    "specials": "[CLS] a [MASK] b [SEP] [PAD] [UNK] <s></s>",
    "separators": "a\u2028b\u2029c\x85d\ufeffe\xa0f\u200bg",
    "ten megabytes": "word " * 2_000_000,
    "a million without a space": "x" * 999_999 + "y",
}


@pytest.mark.parametrize("name", WORDS)
def test_any_text_comes_through(tmp_path: pathlib.Path, name: str) -> None:
    content = f"\ufeff{WORDS[name]}\r\nThe end.\r\n".encode()
    (tmp_path / "a.txt").write_bytes(content)
    config = SourceConfig("text_files", path=str(tmp_path / "a.txt"), documents="file")
    source = open_source(config, DataConfig(), tmp_path / "cache")
    documents = source.read(0, len(source))
    expected = f"{WORDS[name]}\nThe end."
    assert "".join("".join(d.text for d in documents).split()) == "".join(expected.split())
    for kind in ("plain", "wikipedia", "gutenberg"):
        for document in documents:
            kept, _ = make_cleaner(kind)(document)
            assert kept is not None
            sentences = split_sentences(kept.text, "en")
            assert "".join("".join(sentences).split()) == "".join(kept.text.split())


def read(path: pathlib.Path, counts: Counts, rule: str = "file") -> list[Any]:
    settings: Any = {"feature": "text", "rule": rule, "encoding_errors": "replace"}
    return list(read_documents(path, "a", counts=counts, **settings))


@pytest.mark.parametrize("text", ["word é漢👩 " * 500, "é漢👩" * 1000, "x" * 5000])
def test_long_lines_are_cut_between_characters(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(text_lines, "MAX_LINE_BYTES", 1000)
    (tmp_path / "a.txt").write_text(text + "\nshort\n")
    counts = Counts()
    found = "\n".join(d.text for d in read(tmp_path / "a.txt", counts))
    assert "".join(found.split()) == "".join(text.split()) + "short"
    assert counts.cut_lines >= 4
    assert counts.undecodable_bytes == 0
    # No word is torn where there is a space to cut at.
    assert set(found.split()) == {*text.split(), "short"} or " " not in text


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('<doc id="1" title="T">\n' + "One line of a page.\n" * 500, "auto"),
        ("A sentence, and no blank line.\n" * 500, "blank_lines"),
    ],
)
def test_documents_without_an_end_are_cut(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, content: str, rule: str
) -> None:
    monkeypatch.setattr(text_readers, "MAX_DOCUMENT_CHARACTERS", 1000)
    (tmp_path / "a.txt").write_text(content)
    documents = read(tmp_path / "a.txt", Counts(), rule)
    assert len(documents) >= 9
    assert len({d.title for d in documents}) == 1
    assert len({d.id for d in documents}) == len(documents)
    assert sum(d.text.count(".") for d in documents) == 500


SCRIPT = """
import resource, sys
from pathlib import Path
from bert_jax.corpora.text_lines import Counts
from bert_jax.corpora.text_readers import read_documents
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = sum(
    len(d.text)
    for d in read_documents(Path(sys.argv[1]), "a", feature="text", rule="auto",
                            encoding_errors="replace", counts=Counts())
)
print(size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_line_of_300_megabytes_takes_bounded_memory(
    tmp_path: pathlib.Path, run_python: Any
) -> None:
    path = tmp_path / "a.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"x" * 1_000_000)
    done = run_python("-c", SCRIPT, str(path))
    size, megabytes = map(int, done.stdout.split())
    assert size == 300_000_000
    assert megabytes < 250, "the memory grows with the line"
