"""From configuration to documents through TFDS, without TensorFlow and without JAX."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora import document_builder, installed_docs
from bert_jax.corpora.documentation import Texts
from bert_jax.corpora.documents import Document
from bert_jax.corpora.sources import open_source, open_validation


@pytest.fixture
def texts(tmp_path: pathlib.Path) -> SourceConfig:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(5):
        (folder / f"t{i}.txt").write_bytes(f"Text number {i}, caf\xe9.\n".encode("latin-1"))
    return SourceConfig("text_files", path=str(folder / "*.txt"))


def test_text_files(texts: SourceConfig, tmp_path: pathlib.Path) -> None:
    calls: list[tuple[str, int, int]] = []
    cache = tmp_path / "cache"
    source = open_source(texts, DataConfig(), cache, progress=lambda *c: calls.append(c))
    assert len(source) == 5
    found = source.read(0, 5)
    assert sorted(found, key=lambda d: d.id) == [
        Document(f"t{i}#0", f"t{i}", f"Text number {i}, caf\ufffd.") for i in range(5)
    ]
    assert source.read(1, 3) == found[1:3]
    assert source.read(2, 2) == []
    assert source.notes["undecodable_bytes"] == 5
    assert source.num_bytes > 0
    assert calls[-1] == ("reading text files", 5, 5)
    with pytest.raises(ValueError, match="must be within"):
        source.read(0, 6)
    assert open_validation(texts, DataConfig(), cache) is None


def test_opened_again_and_in_another_process_it_is_the_same(
    texts: SourceConfig, tmp_path: pathlib.Path
) -> None:
    first = open_source(texts, DataConfig(), tmp_path / "cache")
    calls: list[Any] = []
    again = open_source(
        texts, DataConfig(), tmp_path / "cache", progress=lambda *c: calls.append(c)
    )
    assert calls == []
    for other in (again, pickle.loads(pickle.dumps(first))):
        assert other.read(0, 5) == first.read(0, 5)
        assert (other.fingerprint, other.notes) == (first.fingerprint, first.notes)
    pathlib.Path(texts.path).with_name("t0.txt").write_text("Changed.")
    changed = open_source(texts, DataConfig(), tmp_path / "cache")
    assert changed.fingerprint != first.fingerprint
    assert "Changed." in [d.text for d in changed.read(0, 5)]


def test_slices_of_a_split(texts: SourceConfig, tmp_path: pathlib.Path) -> None:
    part = open_source(texts, DataConfig(), tmp_path, split="train[:40%]")
    assert len(part) == 2
    assert part.fingerprint != open_source(texts, DataConfig(), tmp_path).fingerprint


def test_refused_bytes_leave_nothing_half_written(
    texts: SourceConfig, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=r"t0\.txt: byte 18 is not UTF-8"):
        open_source(texts, DataConfig(encoding_errors="refuse"), tmp_path / "cache")
    left = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert left == [".lock"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "test"}, "split='test' of text_files must be one of train"),
        ({"path": "/no/such/*.txt"}, "matches no file"),
        (
            {"name": "no_such_dataset"},
            "must be installed_docs, text_files, books_corpus or a TFDS",
        ),
        ({"name": "pg19"}, "pg19 is not prepared"),
    ],
)
def test_mistakes_are_named(
    texts: SourceConfig,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    message: str,
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    fields = {"name": texts.name, "path": texts.path, **change}
    with pytest.raises(ValueError, match=message) as caught:
        open_source(SourceConfig(**fields), DataConfig(), tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_the_rule_of_documents_is_asked_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.txt").write_text("A wrapped\nparagraph.\n\n" * 50)
    found = {}
    for rule in ("auto", "blank_lines", "file"):
        source = SourceConfig("text_files", path=str(tmp_path / "*.txt"), documents=rule)
        found[rule] = open_source(source, DataConfig(), tmp_path / "cache")
    assert {rule: len(source) for rule, source in found.items()} == {
        "auto": 1,
        "blank_lines": 50,
        "file": 1,
    }
    assert found["blank_lines"].notes["files_cut_at_blank_lines"] == 1
    assert found["auto"].notes["files_as_one_document"] == 1
    assert len({source.fingerprint for source in found.values()}) == 3


def test_files_without_text_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\n")
    source = SourceConfig("text_files", path=str(tmp_path / "*.txt"))
    with pytest.raises(ValueError, match="has no text in its 1 files"):
        open_source(source, DataConfig(), tmp_path / "cache")


def test_installed_docs_has_its_own_validation(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]

    def texts_of(name: str, found: object = None) -> list[Texts]:
        said = [
            f"The {name} word {w} is one that is not to be found in any other."
            for w in words
        ]
        return [Texts(name, f"{name}.module", tuple(said))]

    monkeypatch.setattr(
        installed_docs, "standard_library_texts", lambda: texts_of("python")
    )
    monkeypatch.setattr(installed_docs, "distribution_texts", texts_of)
    monkeypatch.setattr(
        installed_docs, "installed_distributions", lambda: dict.fromkeys(["blue", "green"])
    )
    source = SourceConfig("installed_docs")
    train = open_source(source, DataConfig(), tmp_path)
    held_out = open_validation(source, DataConfig(), tmp_path)
    assert held_out is not None
    assert (len(train), len(held_out)) == (2, 1)
    titles = {d.title: d.text.count("\n\n") for d in train.read(0, 2)}
    assert titles["python.module"] == len(words) - 1
    assert set(train.notes) == {
        "copied_paragraphs",
        "short_documents",
        "shared_with_training",
    }
    assert held_out.notes == {}
    assert train.fingerprint != held_out.fingerprint
    assert (
        open_validation(
            SourceConfig("installed_docs", "validation"), DataConfig(), tmp_path
        )
        is None
    )


def test_large_sources_have_several_files(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Text number {i}." for i in range(3000)]
    lines = "\n".join(json.dumps({"text": text}) for text in texts)
    (tmp_path / "a.jsonl").write_text(lines)
    config = SourceConfig("text_files", path=str(tmp_path / "a.jsonl"))
    monkeypatch.setattr(document_builder, "SHARD_BYTES", 20_000)
    source = open_source(config, DataConfig(), tmp_path / "cache")
    files = list((tmp_path / "cache").rglob("*.array_record-*"))
    assert len(files) > 5
    assert [d.text for d in source.read(0, len(source))] == texts


def test_who_comes_second_waits(texts: SourceConfig, tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "cache"
    others: list[Any] = []
    with concurrent.futures.ThreadPoolExecutor() as pool:

        def progress(label: str, done: int, total: int) -> None:
            if done == total and not others:
                others.append(pool.submit(open_source, texts, DataConfig(), cache))
                assert not concurrent.futures.wait(others, timeout=0.5).done

        mine = open_source(texts, DataConfig(), cache, progress=progress)
        other = others[0].result(timeout=60)
    assert mine.read(0, 5) == other.read(0, 5)
    assert mine.notes == other.notes


def test_what_a_killed_process_left_is_removed(
    texts: SourceConfig, tmp_path: pathlib.Path
) -> None:
    open_source(texts, DataConfig(), tmp_path / "a")
    path = next((tmp_path / "a").rglob("dataset_info.json")).parent
    folder = tmp_path / "b" / path.relative_to(tmp_path / "a").parent
    left = folder / f"incomplete.ABCDEF_{path.name}"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    open_source(texts, DataConfig(), tmp_path / "b")
    assert not left.exists()
    assert (folder / path.name).is_dir()


SCRIPT = """
import json, pathlib, sys
from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora.sources import open_source
config = SourceConfig("text_files", path=sys.argv[1])
source = open_source(config, DataConfig(), pathlib.Path(sys.argv[2]))
documents = len(source.read(0, len(source)))
heavy = sorted({"jax", "tensorflow", "torch"} & set(sys.modules))
print(json.dumps([documents, heavy]))
"""


def test_neither_tensorflow_nor_jax_is_imported(
    texts: SourceConfig, tmp_path: pathlib.Path, run_python: Callable[..., Any]
) -> None:
    done = run_python("-c", SCRIPT, texts.path, str(tmp_path / "cache"))
    assert json.loads(done.stdout) == [5, []], done.stderr
    assert done.stderr == ""


def test_wikipedia_is_known_and_said_to_be_not_prepared(tmp_path: pathlib.Path) -> None:
    code = f"""
import os
os.environ["TFDS_DATA_DIR"] = {str(tmp_path)!r}
from pathlib import Path
from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora.sources import open_source
try:
    open_source(SourceConfig("wikipedia/20230601.en"), DataConfig(), Path())
except ValueError as error:
    print(error)
"""
    # A process of its own: what another test has loaded must not help.
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "wikipedia/20230601.en is not prepared under" in found.stdout, found.stderr
    (line,) = found.stdout.splitlines()
    assert "pip install 'bert_jax[beam]'" in line
    # The remedy, as far as it goes without the network, in a fresh process again.
    remedy = line.partition('python -c "')[2].removesuffix('"')
    code, call = remedy.rsplit(".", 1)
    assert call == "download_and_prepare()"
    check = f"import os; os.environ['TFDS_DATA_DIR'] = {str(tmp_path)!r}; {code}"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
