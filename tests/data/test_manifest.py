"""The manifest: a directory that is not what it says is refused."""

from __future__ import annotations

import json

import pytest

from bert_jax.data.manifest import check_manifest, load_manifest

VICTIM = "shards/train-00000.tokens.npy"


@pytest.fixture
def directory(prepared, documents):
    return prepared(documents, documents[:5])


def test_a_sound_directory_passes(directory):
    manifest = check_manifest(directory, verify_hashes=True)
    assert manifest == load_manifest(directory)
    assert VICTIM in manifest.files


def test_a_missing_file_is_named(directory):
    (directory / VICTIM).unlink()
    with pytest.raises(ValueError, match=r"train-00000\.tokens\.npy must exist"):
        check_manifest(directory)


def test_a_short_file_is_named(directory):
    content = (directory / VICTIM).read_bytes()
    (directory / VICTIM).write_bytes(content[:-2])
    with pytest.raises(ValueError, match=r"train-00000\.tokens\.npy must have .* bytes"):
        check_manifest(directory)


def test_a_changed_file_is_named_when_hashes_are_verified(directory):
    content = bytearray((directory / VICTIM).read_bytes())
    content[-1] ^= 1
    (directory / VICTIM).write_bytes(content)
    check_manifest(directory)
    with pytest.raises(ValueError, match=r"train-00000\.tokens\.npy must have its SHA-256"):
        check_manifest(directory, verify_hashes=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format_version=99), "format_version=99 must be 2"),
        (lambda v: v.pop("format_version"), "must be a manifest"),
        (lambda v: v.pop("splits"), "splits"),
        (lambda v: v.update(novel=1), "novel"),
    ],
)
def test_a_manifest_of_another_form_is_refused(directory, change, message):
    path = directory / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        load_manifest(directory)


def test_a_damaged_manifest_is_refused(directory):
    path = directory / "manifest.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match="damaged"):
        load_manifest(directory)


def test_a_directory_without_manifest_is_refused(tmp_path):
    with pytest.raises(ValueError, match="run bert-jax prepare"):
        load_manifest(tmp_path)
