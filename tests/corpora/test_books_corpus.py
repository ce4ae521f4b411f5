"""Books of a folder or an archive: one document each, streamed, nothing led astray."""

from __future__ import annotations

import io
import os
import pathlib
import tarfile
import zipfile
from collections.abc import Mapping

import pytest
import zstandard

from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora import text_readers
from bert_jax.corpora.archives import read_members
from bert_jax.corpora.documents import DocumentSource
from bert_jax.corpora.sources import open_source, open_validation, source_fingerprint

BOOKS = {
    "novels/one.txt": "CHAPTER I\n\nIt was.\n\n\n\nIt ended.\n",
    "novels/two.epub.txt": "A day.\r\nA night.\n",
    "README.md": "not a book",
    "._one.txt": "of another system",
}


def add(archive: tarfile.TarFile, name: str, text: str = "x", **facts: object) -> None:
    entry = tarfile.TarInfo(name)
    content = text.encode()
    entry.size = len(content)
    for key, value in facts.items():
        setattr(entry, key, value)
    archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)


def tar_bytes(books: Mapping[str, str] = BOOKS, mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in books.items():
            add(archive, name, text)
    return packed.getvalue()


def zip_bytes(books: Mapping[str, str] = BOOKS) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in books.items():
            archive.writestr(name, text)
    return packed.getvalue()


ARCHIVES = {
    "books.tar": tar_bytes,
    "books.tar.gz": lambda: tar_bytes(mode="w:gz"),
    "books.tgz": lambda: tar_bytes(mode="w:gz"),
    "books.tar.zst": lambda: zstandard.compress(tar_bytes()),
    "books.zip": zip_bytes,
}


def open_books(path: pathlib.Path, cache: pathlib.Path, **options: str) -> DocumentSource:
    source = SourceConfig("books_corpus", path=str(path))
    return open_source(source, DataConfig(**options), cache)


def texts_of(source: DocumentSource) -> list[tuple[str, str]]:
    return [(d.title, d.text) for d in source.read(0, len(source))]


EXPECTED = [
    ("novels/one.txt", "CHAPTER I\n\nIt was.\n\nIt ended."),
    ("novels/two.epub.txt", "A day.\nA night."),
]


def test_a_folder(tmp_path: pathlib.Path) -> None:
    for name, text in BOOKS.items():
        path = tmp_path / "books" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    source = open_books(tmp_path / "books", tmp_path / "cache")
    assert texts_of(source) == EXPECTED
    assert source.clean == "gutenberg"
    assert source.notes["files_that_are_no_books"] == 1
    config = SourceConfig("books_corpus", path=str(tmp_path / "books"))
    assert open_validation(config, DataConfig(), tmp_path / "cache") is None
    before = source_fingerprint(config, DataConfig())
    (tmp_path / "books" / "novels" / "one.txt").write_text("Changed.")
    assert source_fingerprint(config, DataConfig()) != before


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_bytes(ARCHIVES[name]())
    source = open_books(tmp_path / name, tmp_path / "cache")
    assert [text for _, text in texts_of(source)] == [text for _, text in EXPECTED]
    assert all(
        title.endswith(wanted)
        for (title, _), (wanted, _) in zip(texts_of(source), EXPECTED, strict=True)
    )
    assert source.notes["files_that_are_no_books"] == 1


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_is_cut_off_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    whole = ARCHIVES[name]()
    # A tar archive is cut after its first member, at the border of a record.
    (tmp_path / name).write_bytes(whole[:1024] if name == "books.tar" else whole[:-30])
    with pytest.raises(
        ValueError, match=r"is cut off|cannot be (read|decompressed)"
    ) as caught:
        open_books(tmp_path / name, tmp_path / "cache")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("/etc/passwd.txt", {}, "leads out of the archive"),
        ("books/../../x.txt", {}, "leads out of the archive"),
        ("C:\\x.txt", {}, "leads out of the archive"),
        ("a.txt", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link"),
        ("a.txt", {"type": tarfile.LNKTYPE, "linkname": "b.txt"}, "a link"),
        ("a.txt", {"type": tarfile.FIFOTYPE}, "must be a file"),
    ],
)
def test_members_that_lead_astray_are_refused(
    tmp_path: pathlib.Path, name: str, facts: dict[str, object], message: str
) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        add(archive, "good.txt", "A good book.")
        add(archive, name, size=0, **facts) if facts else add(archive, name)
    with pytest.raises(ValueError, match=message):
        open_books(tmp_path / "b.tar", tmp_path / "cache")


def test_zip_members_that_lead_astray_are_refused(tmp_path: pathlib.Path) -> None:
    link = zipfile.ZipInfo("a.txt")
    link.external_attr = 0o120777 << 16
    for entry in (link, zipfile.ZipInfo("../a.txt")):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
            archive.writestr(entry, "/etc/passwd")
        with pytest.raises(ValueError, match=r"a link|leads out"):
            open_books(tmp_path / "b.zip", tmp_path / "cache")


def test_long_books_are_cut_and_keep_their_title(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_readers, "MAX_DOCUMENT_CHARACTERS", 1000)
    words = "".join(f"word{i} " for i in range(1000))
    (tmp_path / "b.zip").write_bytes(zip_bytes({"long.txt": words}))
    source = open_books(tmp_path / "b.zip", tmp_path / "cache")
    found = source.read(0, len(source))
    assert len(found) > 5
    assert {d.title for d in found} == {"b.zip/long.txt"}
    assert len({d.id for d in found}) == len(found)
    # Cut after a space: no word is torn.
    assert " ".join(d.text for d in found).split() == words.split()


def test_members_are_forgotten_when_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "b.tar").write_bytes(tar_bytes({f"{i}.txt": "x" for i in range(50)}))
    with (tmp_path / "b.tar").open("rb") as packed:
        members = read_members(tmp_path / "b.tar", packed)
        next(members)
        assert sum(1 for _ in members) == 49


def test_mistakes_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"no longer distributed.*pg19"):
        open_books(tmp_path / "none", tmp_path / "cache")
    (tmp_path / "README.md").write_text("no book")
    with pytest.raises(ValueError, match="must hold books"):
        open_books(tmp_path / "README.md", tmp_path / "cache")
    (tmp_path / "b.tar.gz").write_text("no archive")
    with pytest.raises(ValueError, match="cannot be read to its end"):
        open_books(tmp_path / "b.tar.gz", tmp_path / "cache")
    latin = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(latin, "wb") as file:
        file.write("café".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        open_books(
            pathlib.Path(os.fsdecode(latin)), tmp_path / "cache", encoding_errors="refuse"
        )
    # A name that is not UTF-8 is spelled out.
    assert texts_of(open_books(pathlib.Path(os.fsdecode(latin)), tmp_path / "cache")) == [
        ("caf\\xe9.txt", "caf\ufffd")
    ]


def test_shared_books(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tarfile.open(tmp_path / "books.tar", "w") as archive:
        for path in sorted((shared_data / "books").iterdir())[:3]:
            archive.add(path, arcname=path.name)
    source = open_books(tmp_path / "books.tar", tmp_path / "cache")
    assert len(source) == 3
    assert min(len(d.text) for d in source.read(0, 3)) > 500_000
