"""Checks of prepared data against their manifest, their tokenizer and a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_jax.config import Config
from bert_jax.data.cache import cache_root
from bert_jax.data.copies import check_copies, count_copies
from bert_jax.data.manifest import FILE_NAME, Manifest, check_manifest
from bert_jax.data.ownership import check_same
from bert_jax.data.plan_checks import (
    check_epochs,
    check_next_sentence,
    check_rows,
    measure_rows,
    open_epoch,
)
from bert_jax.data.prepare import data_settings
from bert_jax.data.shards import ShardSet
from bert_jax.data.text_checks import (
    Part,
    check_ids,
    check_words,
    count_tokens,
    measure_lengths,
    parts_of,
    tell_lengths,
)
from bert_jax.findings import Finding
from bert_jax.text.tokenizer import Tokenizer, load_given_tokenizer, load_tokenizer

UNITS = ("B", "kB", "MB", "GB", "TB")


def is_prepared(directory: Path) -> bool:
    """Whether a directory holds prepared data, whole by its own word."""
    return (directory / FILE_NAME).is_file()


def check_data(
    config: Config,
    directory: Path,
    distributions: dict[str, Any],
    *,
    verify_hashes: bool = False,
) -> Iterator[Finding]:
    """Looks at prepared data, in order of what stands on what; changes none of them.

    After a finding that files or the vocabulary are broken there are no more: what would
    be read is not what was written.

    Args:
        config: the run that they are for.
        directory: where they lie; `is_prepared`.
        distributions: takes up the lengths of sentences, documents and sequences and how
            rows are filled, as JSON has them, for `report.data_picture`.
        verify_hashes: also compare every file with its SHA-256, about 1 GB a second.
    """
    remedy = f"remove {directory} and run bert-jax prepare"
    try:
        manifest = check_manifest(directory, verify_hashes=verify_hashes)
    except ValueError as error:
        yield Finding.of_error("files", error, remedy)
        return
    yield _tell_files(manifest, directory, verify_hashes)
    yield _check_settings(config, directory, manifest)
    try:
        tokenizer = load_tokenizer(directory / "tokenizer")
    except ValueError as error:
        yield Finding.of_error("vocabulary", error, remedy)
        return
    yield check_vocabulary(config, manifest, tokenizer)
    yield from _check_text(config, directory, manifest, tokenizer, distributions)


def check_vocabulary(config: Config, manifest: Manifest, tokenizer: Tokenizer) -> Finding:
    """Whether shards, the tokenizer beside them and the configuration belong together."""
    asked, size = config.tokenizer, tokenizer.vocab_size
    figure = f"{tokenizer.kind}, {size:,} entries, {tokenizer.sha256[:12]}"
    again = "set data.directory to another folder, or leave it empty, and prepare again"

    def failed(what: str) -> Finding:
        return Finding("vocabulary", False, f"{figure}; {what}", again)

    if tokenizer.sha256 != manifest.tokenizer_sha256:
        return failed(f"the shards are of another one, {manifest.tokenizer_sha256[:12]}")
    if size != manifest.vocab_size:
        return failed(f"the shards are of {manifest.vocab_size:,} entries")
    if tokenizer.kind != asked.kind:
        return failed(f"tokenizer.kind={asked.kind} asks for another kind")
    if asked.path:
        try:
            given = load_given_tokenizer(asked)
        except ValueError as error:
            return Finding.of_error("vocabulary", error, "mend tokenizer.path")
        if given.sha256 != tokenizer.sha256:
            return failed(f"tokenizer.path={asked.path} has another, {given.sha256[:12]}")
    elif size > asked.vocab_size:
        return failed(f"tokenizer.vocab_size={asked.vocab_size} asks for fewer")
    rows = config.bert_config(size).padded_vocab_size
    figure = f"{figure}; {rows:,} rows in the model's table"
    if not asked.path and size < asked.vocab_size // 2:
        mend = f"the text gave no more: lower tokenizer.vocab_size to {size}, or add text"
        return Finding("vocabulary", True, figure, mend)
    return Finding("vocabulary", True, figure)


def check_cache() -> Finding:
    """What the cache takes up, and the line that clears it."""
    root = cache_root()
    if not root.is_dir():
        return Finding("cache", True, f"{root}: not there yet")
    sizes = {
        folder.name: folder_bytes(folder)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }
    told = ", ".join(f"{name} {in_bytes(size)}" for name, size in sizes.items())
    return Finding("cache", True, f"{told or 'empty'}; to clear it: rm -r '{root}'")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def in_bytes(number: float) -> str:
    """A number of bytes for people: 512 B, 1.3 GB."""
    power = 0
    while number >= 1000 and power + 1 < len(UNITS):
        number, power = number / 1000, power + 1
    return f"{number:.0f} {UNITS[power]}" if not power else f"{number:.1f} {UNITS[power]}"


def _tell_files(manifest: Manifest, directory: Path, are_verified: bool) -> Finding:
    size = in_bytes(sum(facts["bytes"] for facts in manifest.files.values()))
    looked = "sizes, counts and hashes" if are_verified else "sizes and counts, not hashes"
    figure = f"{len(manifest.files)} in {directory}, {size}: {looked} as in {FILE_NAME}"
    return Finding("files", True, figure)


def _check_settings(config: Config, directory: Path, manifest: Manifest) -> Finding:
    """Whether the data were prepared with this configuration."""
    try:
        check_same(directory, manifest.settings, data_settings(config))
    except ValueError as error:
        mend = "set data.directory to another folder or leave it empty"
        return Finding.of_error("settings", error, mend)
    return Finding("settings", True, "as this configuration prepares them")


def _check_text(
    config: Config,
    directory: Path,
    manifest: Manifest,
    tokenizer: Tokenizer,
    distributions: dict[str, Any],
) -> Iterator[Finding]:
    """What stands in the shards, and what an epoch makes of it."""
    train, held_out = (
        ShardSet(directory, split, manifest.splits[split]["shards"])
        for split in ("train", "eval")
    )
    parts = parts_of(manifest)
    counts = [count_tokens(train, part, tokenizer) for part in parts]
    every = Part("held out", 0, manifest.splits["eval"]["documents"])
    counts_of_all = [*counts, count_tokens(held_out, every, tokenizer)]
    remedy = f"remove {directory} and run bert-jax prepare"
    yield from check_ids(counts_of_all, tokenizer, remedy)
    for part, of_part in zip(parts, counts, strict=True):
        yield from check_words(part, of_part)
    lengths = measure_lengths(train)
    yield from tell_lengths(lengths)
    yield check_copies(count_copies(train), config.data)
    try:
        epoch = open_epoch(config, directory, manifest)
    except ValueError as error:
        yield Finding.of_error("epochs", error, "add text to data.sources")
        return
    use = measure_rows(config, epoch)
    yield check_next_sentence(
        lengths.one_sentence, lengths.documents.total, use.random_share
    )
    yield from check_epochs(config, epoch)
    yield from check_rows(use, config.data)
    distributions |= {
        "sentences": lengths.sentences.plain(),
        "documents": lengths.documents.plain(),
        **use.plain(config.data.sequence_length),
    }
