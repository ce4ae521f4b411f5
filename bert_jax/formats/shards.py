"""Weights in several files with an index, as Hugging Face writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_jax.formats.mapped_file import map_file, quoted
from bert_jax.formats.strict_json import parse_object
from bert_jax.formats.weights import StoredArray, Weights

_MAX_INDEX_BYTES = 16 * 2**20


def is_index(path: Path) -> bool:
    """Whether a file is an index of shards, by its name."""
    return path.name.endswith(".index.json")


def read_sharded(index: Path, read_file: Callable[[Path], Weights]) -> Weights:
    """The arrays of all shards that an index names.

    An array that the index does not name is taken too, from the one shard that has it;
    where two have it, the index decides.

    Args:
        index: `*.index.json`, with `weight_map`: array name → file name.
        read_file: reads one shard.

    Raises:
        ValueError: index and shards disagree, or a shard lies elsewhere.
    """
    weight_map = _weight_map(index)
    stored: dict[str, StoredArray] = {}
    files = [index]
    for shard_name in dict.fromkeys(weight_map.values()):
        files.append(_shard_path(index, shard_name))
        shard = read_file(files[-1]).stored
        for name, item in shard.items():
            if name not in weight_map and name in stored:
                raise ValueError(
                    f"{index} must say which shard {quoted(name)} is read from; "
                    "several have it"
                )
            if name not in weight_map or weight_map[name] == shard_name:
                stored[name] = item
    for name, shard_name in weight_map.items():
        if name not in stored:
            raise ValueError(
                f"{index.with_name(shard_name)} must hold {quoted(name)}, as {index.name} "
                "says; fetch the files again, all of one version"
            )
    return Weights(stored, {}, files)


def _weight_map(index: Path) -> dict[str, str]:
    """array name → plain file name."""
    with map_file(index) as content:
        if len(content) > _MAX_INDEX_BYTES:
            raise ValueError(f"{index} must be smaller than {_MAX_INDEX_BYTES} bytes")
        values = parse_object(content[:], str(index))
    weight_map: Any = values["weight_map"] if "weight_map" in values else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{index} must have weight_map: array name → file name")
    for shard_name in weight_map.values():
        if not isinstance(shard_name, str) or not _is_plain(shard_name):
            raise ValueError(
                f"{index} names a shard {quoted(str(shard_name))}; it must be the name of "
                "a file beside the index"
            )
    return weight_map


def _is_plain(name: str) -> bool:
    """Whether a name can only mean a file of the same folder."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0\n\r")


def _shard_path(index: Path, name: str) -> Path:
    """A shard's path; links may lead to where the index itself leads, nowhere else.

    (The cache of the Hugging Face Hub is made of links into one folder.)
    """
    path = index.with_name(name)
    allowed = {index.parent.resolve(), index.resolve().parent}
    if path.is_symlink() and path.resolve().parent not in allowed:
        raise ValueError(
            f"{path} must lie beside {index.name}; it is a link that leads elsewhere"
        )
    return path
