"""Every way in which shards go bad is found before the first step, and the file named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.corpora_by_hand import (
    config_of,
    made_up_documents,
    prepare_quietly,
    write_texts,
)

from bert_jax.cli import main
from bert_jax.data.manifest import check_manifest
from bert_jax.data.prepare import prepare
from bert_jax.data.stream import BatchStream

SHARD = "train-00001.tokens.npy"
INDEX = "train.document_offsets.npy"


@pytest.fixture
def directory(prepared, documents) -> Path:
    return prepared(documents, documents[:20])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-num_bytes])


def cut_with_header(path: Path) -> None:
    """One item less, the header too: a whole array in itself."""
    np.save(path, np.load(path)[:-1])


def drop_a_record(path: Path) -> None:
    """A document less, at the end of the file: where one record ends and one begins."""
    np.save(path, np.load(path)[:-7])


# How a file is damaged, which file must be named, and what is said of it.
QUIET: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "cut mid-record": (lambda s: cut(s / SHARD, 1), SHARD, "must have .* bytes"),
    "cut at a record": (lambda s: drop_a_record(s / SHARD), SHARD, "must have .* bytes"),
    "one item less": (lambda s: cut_with_header(s / INDEX), INDEX, "must have .* bytes"),
    "empty": (lambda s: (s / SHARD).write_bytes(b""), SHARD, "must have .* bytes"),
    "missing": (lambda s: (s / SHARD).unlink(), SHARD, "must exist"),
    "renamed": (lambda s: (s / SHARD).rename(s / "train-00007.tokens.npy"), SHARD, "exist"),
    "header flipped": (lambda s: flip(s / SHARD, 61), SHARD, "must have|must be an array"),
    "duplicated under a new name": (
        lambda s: shutil.copy(s / SHARD, s / "train-00002.tokens.npy"),
        "train-00002.tokens.npy",
        "must not be there",
    ),
    "a copy under another's name": (
        lambda s: shutil.copy(s / "train-00000.tokens.npy", s / SHARD),
        SHARD,
        "must have .* bytes",
    ),
    "a stranger": (
        lambda s: (s / "notes.txt").write_text("x"),
        "notes.txt",
        "not be there",
    ),
}


@pytest.mark.parametrize("damage", QUIET)
def test_damage_is_found_by_sizes_and_counts(directory, tokenizer, damage):
    spoil, named, said = QUIET[damage]
    check_manifest(directory)
    spoil(directory / "shards")
    with pytest.raises(
        ValueError, match=rf"{named.replace('.', '[.]')} .*({said})"
    ) as error:
        check_manifest(directory)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=said):
        open_stream(directory, tokenizer)


def open_stream(directory: Path, tokenizer: object) -> BatchStream:
    """A stream, as a run opens it before its first step."""
    from bert_jax.config_sections import DataConfig

    return BatchStream(
        directory,
        split="train",
        sentence_task="nsp",
        data=DataConfig(sequence_length=32),
        global_batch_size=4,
        tokenizer=tokenizer,
    )


@pytest.mark.parametrize("name", [SHARD, INDEX, "eval-00000.tokens.npy"])
def test_a_flipped_byte_is_found_by_hashes(directory, name):
    flip(directory / "shards" / name, -9 if name == INDEX else -2)
    if name != INDEX:
        check_manifest(directory)  # sizes and counts cannot know
    with pytest.raises(ValueError, match=rf"{name} must have its SHA-256"):
        check_manifest(directory, verify_hashes=True)


def test_two_shards_of_one_size_that_changed_places_are_found_by_hashes(
    prepared, documents
):
    directory = prepared(documents, documents[:5])
    first, second = (directory / "shards" / f"train-0000{i}.tokens.npy" for i in range(2))
    np.save(first, np.resize(np.load(second), len(np.load(first))))
    check_manifest(directory)
    with pytest.raises(ValueError, match=r"train-00000\.tokens\.npy must have its SHA-256"):
        check_manifest(directory, verify_hashes=True)


def test_counts_of_the_manifest_are_held_to_the_files(directory):
    path = directory / "manifest.json"
    values = json.loads(path.read_text())
    values["splits"]["train"]["sentences"] += 1
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"train\.sentence_offsets\.npy must be"):
        check_manifest(directory)
    values["splits"]["train"]["sentences"] -= 1
    values["splits"]["train"]["shards"] = 1
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"train-\*\.tokens\.npy must have"):
        check_manifest(directory)


def test_files_that_nobody_reads_may_lie_there(directory):
    (directory / "shards" / ".nfs0001").write_bytes(b"x")
    check_manifest(directory)


def test_verify_reaches_from_the_command_line_to_the_hashes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))
    source = write_texts(tmp_path / "texts.txt", made_up_documents(0, 40))
    config = config_of(source, directory=str(tmp_path / "data"))
    prepare_quietly(config, tmp_path / "data")
    (tmp_path / "config.json").write_text(config.to_json())
    command = ["prepare", f"--config={tmp_path / 'config.json'}"]
    assert main([*command, "--verify"]) == 0
    flip(tmp_path / "data" / "shards" / "train-00000.tokens.npy", -1)
    assert main(command) == 0
    assert main([*command, "--verify"]) == 2
    assert "train-00000.tokens.npy must have its SHA-256" in capsys.readouterr().err
    run = ["pretrain", *command[1:], f"--workdir={tmp_path / 'run'}", "--verify"]
    assert main(run) == 2
    assert "train-00000.tokens.npy must have its SHA-256" in capsys.readouterr().err


def as_version_1(directory: Path) -> None:
    """Rewrites a manifest as version 1 had it."""
    path = directory / "manifest.json"
    values = json.loads(path.read_text())
    values["format_version"] = 1
    for source in values["sources"]:
        del source["train_documents"], source["train_tokens"]
    for key in ("drop_duplicates", "near_duplicates", "decontaminate"):
        del values["settings"][key]
    path.write_text(json.dumps(values))


def test_a_directory_of_version_1_is_still_read(tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))
    source = write_texts(tmp_path / "texts.txt", made_up_documents(0, 40))
    config = config_of(source, drop_duplicates=False)
    directory = tmp_path / "data"
    manifest = prepare_quietly(config, directory)
    as_version_1(directory)
    assert check_manifest(directory) == manifest
    assert prepare(config, directory, report=lambda *_: None) == manifest
    train = manifest.splits["train"]
    assert manifest.sources[0]["train_documents"] == [0, train["documents"]]
    assert manifest.sources[0]["train_tokens"] == train["tokens"]
    # It was prepared without dropping duplicates, and is not taken for one that does.
    with pytest.raises(
        ValueError, match="prepared with drop_duplicates=False, which is now"
    ):
        prepare(config_of(source), directory, report=lambda *_: None)
    values = json.loads((directory / "manifest.json").read_text())
    values["settings"]["sources"] *= 2
    (directory / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"2 sources.* prepare again") as error:
        check_manifest(directory)
    assert "\n" not in str(error.value)
