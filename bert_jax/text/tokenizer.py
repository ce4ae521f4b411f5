"""Text to token ids and back, behind one interface for all kinds of vocabulary.

Shapes: N tokens, V entries of the vocabulary.

There are two ways in. `encode_batch` takes *plain text*, such as a corpus: the letters
"[MASK]" in a document are letters and never become the control id. `encode` takes text
as its user means it: control tokens written out in it are control ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bert_jax.config_sections import TokenizerConfig
from bert_jax.formats.hashes import check_hashes
from bert_jax.text.entries import (
    CONFIG_FILE,
    CONTROL_TOKENS,
    FORMAT_VERSION,
    TOKENIZER_FILES,
)
from bert_jax.text.files import control_names, naming, read_bytes, read_json, read_vocab
from bert_jax.text.foreign import Asked, load_file, load_folder
from bert_jax.text.pieces import Frame, Pieces
from bert_jax.text.pipeline import JSON_FORMAT_VERSION, PipelineTokenizer
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
        frame: the control tokens that stand around texts.
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
    frame: Frame
    word_starts_V: np.ndarray  # noqa: N815
    lowercase: bool
    strip_accents: bool
    sha256: str

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts: (int32[N] of all texts, int64[len(texts) + 1] offsets)."""

    def encode(self, text: str) -> list[int]:
        """Ids of one text, written-out control tokens understood; none are added."""

    def encode_pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """The tokens of each text as `encode` gives them, and where they stand in it."""

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[Pieces]:
        """The same of texts given as words; places are inside words, word ids theirs."""

    def decode(
        self, ids: Sequence[int], *, skip_special: bool = False, clean_up: bool = True
    ) -> str:
        """Text of `ids`; `clean_up` joins "don ' t ." to "don't."."""

    def id_to_token(self, index: int) -> str:
        """The entry of the vocabulary at `index`."""

    def token_to_id(self, token: str) -> int | None:
        """The id of an entry, None if the vocabulary lacks it."""

    def save(self, directory: Path) -> None:
        """Writes the files that `load_tokenizer` reads."""


def load_tokenizer(
    folder_or_file: Path,
    *,
    lowercase: bool | None = None,
    strip_accents: bool | None = None,
) -> Tokenizer:
    """The tokenizer that a folder or a file holds.

    Args:
        folder_or_file: a folder as `save` writes it; a folder with a tokenizer.json, a
            vocab.txt or a spiece.model, of which the first is read, as Transformers does;
            or one such file.
        lowercase: fold case; read only where the files themselves do not say. If it is
            None too, case is folded unless the vocabulary has capitals.
        strip_accents: drop accents; the same, and None for as `lowercase`.

    Raises:
        ValueError: nothing of the kind is there, its format is of another version, it is
            no tokenizer of a BERT, or not what the list of hashes beside it says.
    """
    path = Path(folder_or_file)
    asked = Asked(lowercase, strip_accents)
    if path.is_file():
        return load_file(path, {}, asked)
    if not path.is_dir():
        raise ValueError(
            f"tokenizer.path={path} must be a folder or a vocab.txt; it is not there"
        )
    check_hashes(path, TOKENIZER_FILES)
    if (path / CONFIG_FILE).is_file():
        settings = read_json(path / CONFIG_FILE)
        if "format_version" in settings:
            with naming(path):
                return _load_own(path, settings)
    return load_folder(path, asked)


def load_given_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """The tokenizer at `config.path`, which must be what `config` says.

    Raises:
        ValueError: it cannot be loaded, or the files are of another kind or say that
            text is folded otherwise.
    """
    tokenizer = load_tokenizer(
        Path(config.path), lowercase=config.lowercase, strip_accents=config.strip_accents
    )
    wanted: dict[str, Any] = {"kind": config.kind, "lowercase": config.lowercase}
    if config.lowercase:
        wanted["strip_accents"] = config.strip_accents
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
    version = settings["format_version"]
    where = path / CONFIG_FILE
    if version not in (FORMAT_VERSION, JSON_FORMAT_VERSION):
        raise ValueError(
            f"{where}: format_version={version!r} must be {FORMAT_VERSION} or "
            f"{JSON_FORMAT_VERSION}; it was written by another version of bert_jax"
        )
    needed = ("kind", "lowercase", "strip_accents")
    missing = [key for key in needed if key not in settings]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}; save it again")
    kind, controls = settings["kind"], control_names(settings, set())
    folding = {key: bool(settings[key]) for key in ("lowercase", "strip_accents")}
    if version == JSON_FORMAT_VERSION:
        return PipelineTokenizer(read_json(path / "tokenizer.json"), controls)
    if kind == "wordpiece":
        return WordPieceTokenizer(read_vocab(path / "vocab.txt"), **folding)
    if kind == "sentencepiece":
        model = read_bytes(path / "spiece.model")
        return SentencePieceTokenizer(model, **folding, control_tokens=controls)
    raise ValueError(f"{where}: kind={kind!r} must be wordpiece or sentencepiece")
