"""The files that tokenizers are kept in, read with care.

Whatever is wrong with a file is said in one line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_jax.text.entries import CONFIG_FILE, CONTROL_ROLES, SPECIAL_TOKENS_FILE
from bert_jax.text.unicode import well_formed

ADDED_TOKENS_FILE = "added_tokens.json"
# Names of [PAD] and its like where no file gives them: BERT's, then SentencePiece's.
_USUAL_NAMES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
# Transformers writes 1e30 where a tokenizer has no limit.
_NO_LIMIT = 1_000_000


@dataclasses.dataclass(frozen=True)
class Stored:
    """What the files of a tokenizer say of rows; None where they say nothing."""

    model_max_length: int | None
    padding_side: str | None
    truncation_side: str | None


def read_stored(place: Path) -> Stored:
    """What the folder `place` says of the rows that its model takes.

    Raises:
        ValueError: a length is no positive number, a side neither "right" nor "left".
    """
    path = place / CONFIG_FILE
    settings = read_json(path) if path.is_file() else {}
    sides = {}
    for name in ("padding_side", "truncation_side"):
        sides[name] = settings.get(name)
        if sides[name] not in (None, "right", "left"):
            raise ValueError(f"{path}: {name}={sides[name]!r} must be 'right' or 'left'")
    length = _length(path, "model_max_length", settings.get("model_max_length"))
    return Stored(model_max_length=length or _positions(place), **sides)


def _positions(place: Path) -> int | None:
    """Positions of the model beside a tokenizer: in its folder, or in its workdir."""
    folder = place if place.is_dir() else place.parent
    places = [folder / "config.json", folder / "bert_config.json"]
    if folder.name == "tokenizer":
        places.append(folder.parent / "config.json")
    for path in places:
        if path.is_file():
            config = read_json(path)
            model = config["model"] if isinstance(config.get("model"), dict) else config
            name = "max_position_embeddings"
            return _length(path, name, model.get(name))
    return None


def _length(path: Path, name: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 1:
        raise ValueError(f"{path}: {name}={value!r} must be a number of tokens, at least 1")
    return int(value) if value <= _NO_LIMIT else None


def control_names(settings: dict[str, Any], entries: set[str]) -> tuple[str, ...]:
    """The names of [PAD], [UNK], [CLS], [SEP] and [MASK] in a vocabulary.

    Args:
        settings: the content of tokenizer_config.json and the like.
        entries: the vocabulary.
    """
    names = []
    for role in CONTROL_ROLES:
        said = settings.get(role)
        if isinstance(said, dict):
            said = said.get("content")
        if said is not None and not isinstance(said, str):
            raise ValueError(f"{CONFIG_FILE}: {role}={said!r:.60} must be a string")
        usual = _USUAL_NAMES[role]
        known = next((name for name in usual if name in entries), usual[0])
        names.append(well_formed(said or known))
    return tuple(names)


def read_settings(folder: Path) -> dict[str, Any]:
    """What the files beside a vocabulary say; {} without them.

    Returns:
        tokenizer_config.json, where that has no word special_tokens_map.json, and the
        content of added_tokens.json under its own name.
    """
    settings: dict[str, Any] = {}
    for name in (SPECIAL_TOKENS_FILE, CONFIG_FILE):
        if (folder / name).is_file():
            settings.update(read_json(folder / name))
    if (folder / ADDED_TOKENS_FILE).is_file():
        settings[ADDED_TOKENS_FILE] = read_json(folder / ADDED_TOKENS_FILE)
    return settings


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts `path` in front of what a ValueError says, where it does not say it itself."""
    try:
        yield
    except ValueError as error:
        said = " ".join(str(error).split())
        if not said.startswith(str(path)):
            said = f"{path}: {said}"
        raise ValueError(said) from None


def read_vocab(path: Path) -> list[str]:
    """One entry a line; only line feeds end a line, an entry may hold U+2028 or U+0085."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8 text, one entry a line; byte {error.start} is not"
        ) from None
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def read_bytes(path: Path) -> bytes:
    """The content of a file that a tokenizer's folder must have."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing; the tokenizer's folder is not whole"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds."""
    content = read_bytes(path)
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must be a JSON object")
    return value
