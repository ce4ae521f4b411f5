"""The manifest of a prepared directory: what is in it, and whether it is still so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from bert_jax.data.files import array_size, digest, file_sha256, open_array, save_json

FORMAT_VERSION = 2
# What a directory of version 1 was prepared with, before there were such settings.
_SETTINGS_OF_VERSION_1: dict[str, Any] = {
    "drop_duplicates": False,
    "near_duplicates": "keep",
    "decontaminate": [],
}
FILE_NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a prepared directory holds.

    Attributes:
        format_version: of the directory's layout and of this file.
        settings: the part of the configuration that decided the content.
        sources: for each source its name, fingerprint, number of documents, notes of its
            builder (what was dropped or replaced there), and what of the train split is
            its own: `train_documents`, first and last + 1, and `train_tokens`. First the
            sources of the configuration, in order, then their validation splits, of which
            nothing is in the train split.
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
    if values["format_version"] == 1:
        values = _from_version_1(values, directory)
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


def upgrade_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of version 1 as they would be written now."""
    return {**_SETTINGS_OF_VERSION_1, **settings}


def _from_version_1(values: dict[str, Any], directory: Path) -> dict[str, Any]:
    """A manifest of version 1 as one of version 2.

    Version 1 did not say which training documents are whose: all are of its one source.

    Raises:
        ValueError: it has several.
    """
    sources = values["sources"] if "sources" in values else []
    settings = values["settings"] if "settings" in values else {}
    if "sources" in settings and len(settings["sources"]) > 1:
        raise ValueError(
            f"{directory} must say which documents are of which of its "
            f"{len(settings['sources'])} sources, and was prepared before this was "
            "written down; prepare again: remove it and run bert-jax prepare"
        )
    described = []
    for number, source in enumerate(sources):
        train = values["splits"]["train"]
        documents, tokens = (train["documents"], train["tokens"]) if not number else (0, 0)
        first = train["documents"] if number else 0
        of_split = {"train_documents": [first, first + documents], "train_tokens": tokens}
        described.append({**source, **of_split})
    return {
        **values,
        "format_version": FORMAT_VERSION,
        "settings": upgrade_settings(settings),
        "sources": described,
    }


def check_manifest(directory: Path, *, verify_hashes: bool = False) -> Manifest:
    """Checks that the files of a prepared directory are those of its manifest.

    Args:
        directory: the prepared directory.
        verify_hashes: also read every file and compare its SHA-256 (about 1 GB a second).

    Returns:
        The manifest.

    Raises:
        ValueError: names the first file that is missing, of another length, changed, or
            among the shards without being one.
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
    for path in sorted((directory / "shards").iterdir()):
        is_known = path.relative_to(directory).as_posix() in manifest.files
        if not is_known and not path.name.startswith("."):
            raise ValueError(
                f"{path} must not be there: {FILE_NAME} does not know it; move it away"
            )
    for split, counts in manifest.splits.items():
        _check_counts(directory / "shards", split, counts, remedy)
    if verify_hashes:
        for name, facts in manifest.files.items():
            if file_sha256(directory / name) != facts["sha256"]:
                raise ValueError(
                    f"{directory / name} must have its SHA-256 of {FILE_NAME}; {remedy}"
                )
    return manifest


def _check_counts(shards: Path, split: str, counts: dict[str, int], remedy: str) -> None:
    """Checks what the headers and the ends of a split's files say against its counts."""
    inside = {"sentence_offsets": "tokens", "document_offsets": "sentences"}
    for name, of in {
        "sentence_offsets": "sentences",
        "document_offsets": "documents",
    }.items():
        path = shards / f"{split}.{name}.npy"
        size = array_size(path)
        last = int(open_array(path)[-1]) if size == counts[of] + 1 else -1
        if last != counts[inside[name]]:
            raise ValueError(
                f"{path} must be the offsets of {counts[of]} {of} with "
                f"{counts[inside[name]]} {inside[name]}, as {FILE_NAME} says; {remedy}"
            )
    paths = [shards / f"{split}-{i:05d}.tokens.npy" for i in range(counts["shards"])]
    total = sum(array_size(path) for path in paths)
    if total != counts["tokens"]:
        raise ValueError(
            f"{shards}/{split}-*.tokens.npy must have {counts['tokens']} tokens, as "
            f"{FILE_NAME} says, and have {total}; {remedy}"
        )
