"""Text to token ids and back, behind one interface for all kinds of vocabulary.

Shapes: N tokens, V entries of the vocabulary.

There are two ways in. `encode_batch` takes *plain text*, such as a corpus: the letters
"[MASK]" in a document are letters and never become the control id. `encode` takes text
as its user means it: control tokens written out in it are control ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.entries import CONFIG_FILE, CONTROL_TOKENS, FORMAT_VERSION
from bert_jax.text.unigram import SentencePieceTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

__all__ = [
    "CONTROL_TOKENS",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "load_given_tokenizer",
    "load_tokenizer",
]


class Tokenizer(Protocol):
    """What the rest of the project knows of a tokenizer.

    Attributes:
        kind: "wordpiece" or "sentencepiece".
        vocab_size: entries of the vocabulary, control tokens included.
        pad_id, unk_id, cls_id, sep_id, mask_id: ids of the five control tokens.
        special_ids: the five, in that order.
        word_starts_V: bool[V], False for pieces that continue a word.
        sha256: digest of what decides the ids: the vocabulary and the text folding.
    """

    kind: str
    vocab_size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    special_ids: tuple[int, ...]
    word_starts_V: np.ndarray  # noqa: N815
    lowercase: bool
    strip_accents: bool
    sha256: str

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts: (int32[N] of all texts, int64[len(texts) + 1] offsets)."""

    def encode(self, text: str) -> list[int]:
        """Ids of one text, written-out control tokens understood; none are added."""

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of `ids`."""

    def id_to_token(self, index: int) -> str:
        """The entry of the vocabulary at `index`."""

    def token_to_id(self, token: str) -> int | None:
        """The id of an entry, None if the vocabulary lacks it."""

    def save(self, directory: Path) -> None:
        """Writes the files that `load_tokenizer` reads."""


def load_tokenizer(
    directory_or_vocab_txt: Path, *, lowercase: bool = True, strip_accents: bool = True
) -> Tokenizer:
    """The tokenizer that a folder or a vocab.txt holds.

    Args:
        directory_or_vocab_txt: a folder as `save` writes it, a Hugging Face folder with
            tokenizer.json or vocab.txt, or a vocab.txt as Google ships it.
        lowercase: fold case; read only where the files themselves do not say.
        strip_accents: drop accents; the same.

    Raises:
        ValueError: nothing of the kind is there, its format is of another version, or
            it is no BERT vocabulary.
    """
    path = Path(directory_or_vocab_txt)
    if path.is_file():
        return _from_vocab_txt(path, lowercase, strip_accents)
    if not path.is_dir():
        raise ValueError(
            f"tokenizer.path={path} must be a folder or a vocab.txt; it is not there"
        )
    settings: dict[str, Any] = {}
    if (path / CONFIG_FILE).is_file():
        settings = _read_json(path / CONFIG_FILE)
    if "format_version" in settings:
        return _load_own(path, settings)
    return _load_foreign(path, settings, lowercase, strip_accents)


def load_given_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """The tokenizer at `config.path`, which must be what `config` says.

    Raises:
        ValueError: it cannot be loaded, or the files are of another kind or say that
            text is folded otherwise.
    """
    tokenizer = load_tokenizer(
        Path(config.path), lowercase=config.lowercase, strip_accents=config.strip_accents
    )
    wanted = {
        "kind": config.kind,
        "lowercase": config.lowercase,
        "strip_accents": config.lowercase and config.strip_accents,
    }
    for name, value in wanted.items():
        found = getattr(tokenizer, name)
        if found != value:
            raise ValueError(
                f"tokenizer.{name}={value!r} must be {found!r}, as the files at "
                f"tokenizer.path={config.path} say; set it so"
            )
    return tokenizer


def _load_own(path: Path, settings: dict[str, Any]) -> Tokenizer:
    """Reads what `save` wrote."""
    if settings["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path / CONFIG_FILE}: format_version={settings['format_version']!r} must be "
            f"{FORMAT_VERSION}; it was written by another version of bert_jax"
        )
    missing = [key for key in ("kind", "lowercase", "strip_accents") if key not in settings]
    if missing:
        raise ValueError(f"{path / CONFIG_FILE} lacks {', '.join(missing)}; save it again")
    folding = {key: bool(settings[key]) for key in ("lowercase", "strip_accents")}
    if settings["kind"] == "wordpiece":
        return WordPieceTokenizer(_read_vocab(path / "vocab.txt"), **folding)
    if settings["kind"] == "sentencepiece":
        return SentencePieceTokenizer(_read_bytes(path / "spiece.model"), **folding)
    raise ValueError(
        f"{path / CONFIG_FILE}: kind={settings['kind']!r} must be wordpiece or "
        "sentencepiece"
    )


def _load_foreign(
    path: Path, settings: dict[str, Any], lowercase: bool, strip_accents: bool
) -> Tokenizer:
    """Reads a folder of Hugging Face's: vocab.txt, or the vocabulary of tokenizer.json."""
    found = None
    if (path / "tokenizer.json").is_file():
        found = _read_json(path / "tokenizer.json")
        normalizer = found.get("normalizer") or {}
        settings = {**normalizer, **settings}
    for key in ("lowercase", "do_lower_case"):
        if isinstance(settings.get(key), bool):
            lowercase = strip_accents = settings[key]
    if isinstance(settings.get("strip_accents"), bool):
        strip_accents = settings["strip_accents"]
    if (path / "vocab.txt").is_file():
        return _from_vocab_txt(path / "vocab.txt", lowercase, strip_accents)
    if found is None:
        raise ValueError(
            f"tokenizer.path={path} must hold vocab.txt, tokenizer.json, or spiece.model "
            f"with {CONFIG_FILE}; it holds none of them"
        )
    model = found.get("model")
    if not isinstance(model, dict) or model.get("type") != "WordPiece":
        raise ValueError(
            f"{path / 'tokenizer.json'} must hold a WordPiece model, as BERT's are"
        )
    ids: dict[str, int] = model["vocab"]
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"{path / 'tokenizer.json'}: ids must be 0 to {len(tokens) - 1}")
    return WordPieceTokenizer(tokens, lowercase=lowercase, strip_accents=strip_accents)


def _from_vocab_txt(path: Path, lowercase: bool, strip_accents: bool) -> WordPieceTokenizer:
    tokens = _read_vocab(path)
    try:
        return WordPieceTokenizer(tokens, lowercase=lowercase, strip_accents=strip_accents)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_vocab(path: Path) -> list[str]:
    """One entry a line; only line feeds end a line, an entry may hold U+2028 or U+0085."""
    try:
        text = _read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8 text, one entry a line; byte {error.start} is not"
        ) from None
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing; the tokenizer's folder is not whole"
        ) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must be a JSON object")
    return value
