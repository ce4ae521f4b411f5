"""The manifest of a prepared directory: what is in it, and whether it is still so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from bert_jax.data.files import digest, file_sha256, save_json

FORMAT_VERSION = 1
FILE_NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a prepared directory holds.

    Attributes:
        format_version: of the directory's layout and of this file.
        settings: the part of the configuration that decided the content.
        sources: for each source its name, fingerprint, number of documents and notes of
            its builder (what was dropped or replaced there).
        tokenizer_sha256: of the vocabulary that the ids belong to.
        vocab_size: entries of that vocabulary.
        splits: for "train" and "eval": documents, sentences, tokens, shards.
        dropped: what preparation left out: reason -> number.
        files: name relative to the directory -> {"bytes", "sha256"}.
    """

    format_version: int
    settings: dict[str, Any]
    sources: list[dict[str, Any]]
    tokenizer_sha256: str
    vocab_size: int
    splits: dict[str, dict[str, int]]
    dropped: dict[str, int]
    files: dict[str, dict[str, Any]]

    @property
    def sha256(self) -> str:
        """Digest of the content: of the hash of every file."""
        return digest({name: facts["sha256"] for name, facts in self.files.items()})

    def summary(self) -> list[str]:
        """Lines for the person who prepared: how much text, what was held out and lost."""
        train, held_out = self.splits["train"], self.splits["eval"]
        share = held_out["tokens"] / (train["tokens"] + held_out["tokens"])
        lines = [
            f"{train['documents']:,} documents, {train['tokens']:,} tokens; held out "
            f"{held_out['documents']:,} documents, {share:.1%} of the tokens"
        ]
        lost = dict(self.dropped)
        for source in self.sources:
            for reason, count in source["notes"].items():
                lost[reason] = (lost[reason] if reason in lost else 0) + count
        told = [f"{reason} {count:,}" for reason, count in lost.items() if count]
        return [*lines, f"dropped or replaced: {', '.join(told)}"] if told else lines

    def save(self, directory: Path) -> None:
        """Writes DIRECTORY/manifest.json, atomically."""
        save_json(directory / FILE_NAME, dataclasses.asdict(self))


def describe_files(directory: Path, paths: list[Path]) -> dict[str, dict[str, Any]]:
    """The `files` table of a manifest for files under `directory`."""
    return {
        path.relative_to(directory).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        for path in sorted(paths)
    }


def load_manifest(directory: Path) -> Manifest:
    """Reads the manifest of a prepared directory.

    Raises:
        ValueError: there is none, it is damaged, or it is of an unknown version.
    """
    path = directory / FILE_NAME
    if not path.exists():
        raise ValueError(
            f"data.directory={directory} must hold prepared data ({FILE_NAME} is missing); "
            "run bert-jax prepare"
        )
    remedy = f"remove {directory} and run bert-jax prepare"
    try:
        values = json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path} must be JSON and is damaged; {remedy}") from None
    if not isinstance(values, dict) or "format_version" not in values:
        raise ValueError(f"{path} must be a manifest and is not one; {remedy}")
    if values["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version={values['format_version']!r} must be "
            f"{FORMAT_VERSION}; another version of bert_jax wrote it: {remedy}"
        )
    fields = {field.name for field in dataclasses.fields(Manifest)}
    if set(values) != fields:
        odd = ", ".join(sorted(set(values) ^ fields))
        raise ValueError(f"{path} must have the fields of a manifest (see {odd}); {remedy}")
    return Manifest(**values)


def check_manifest(directory: Path, *, verify_hashes: bool = False) -> Manifest:
    """Checks that the files of a prepared directory are those of its manifest.

    Args:
        directory: the prepared directory.
        verify_hashes: also read every file and compare its SHA-256 (about 1 GB a second).

    Returns:
        The manifest.

    Raises:
        ValueError: names the first file that is missing, of another length or changed.
    """
    manifest = load_manifest(directory)
    remedy = f"remove {directory} and run bert-jax prepare"
    for name, facts in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise ValueError(f"{path} must exist, as {FILE_NAME} says; {remedy}")
        size = path.stat().st_size
        if size != facts["bytes"]:
            raise ValueError(
                f"{path} must have {facts['bytes']} bytes and has {size}; {remedy}"
            )
        if verify_hashes and file_sha256(path) != facts["sha256"]:
            raise ValueError(f"{path} must have its SHA-256 of {FILE_NAME}; {remedy}")
    return manifest
