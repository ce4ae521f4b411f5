"""Tokenizers in the files of others: Hugging Face, Google, SentencePiece."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from bert_jax.text.entries import CONFIG_FILE, CONTROL_TOKENS, check_entries, is_cased
from bert_jax.text.files import (
    ADDED_TOKENS_FILE,
    control_names,
    naming,
    read_bytes,
    read_json,
    read_settings,
    read_vocab,
)
from bert_jax.text.pipeline import PipelineTokenizer, simplest
from bert_jax.text.rust_backed import bert_backend, bert_normalizer
from bert_jax.text.unigram import SentencePieceTokenizer, pieces_of
from bert_jax.text.wordpiece import WordPieceTokenizer

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

Made = WordPieceTokenizer | PipelineTokenizer | SentencePieceTokenizer


@dataclasses.dataclass(frozen=True)
class Asked:
    """How the caller wants text folded where no file says it; None leaves it open."""

    lowercase: bool | None
    strip_accents: bool | None


@dataclasses.dataclass(frozen=True)
class Said:
    """What tokenizer_config.json says of folding; None where it says nothing.

    Attributes:
        lowercase: `do_lower_case`.
        strip_accents: `strip_accents`, or the contrary of ALBERT's `keep_accents`.
        chinese_apart: `tokenize_chinese_chars`.
    """

    lowercase: bool | None
    strip_accents: bool | None
    chinese_apart: bool | None

    @classmethod
    def by(cls, settings: dict[str, Any]) -> Said:
        """Reads the settings; refuses what is neither true, false nor null."""
        values = {}
        for name in _FOLDING_KEYS:
            values[name] = settings.get(name)
            if not isinstance(values[name], bool | None):
                raise ValueError(
                    f"{CONFIG_FILE}: {name}={values[name]!r:.60} must be true, false or "
                    "null"
                )
        strip, keep = values["strip_accents"], values["keep_accents"]
        if strip is None and keep is not None:
            strip = not keep
        return cls(values["do_lower_case"], strip, values["tokenize_chinese_chars"])

    def folding(self, asked: Asked, tokens: Sequence[str]) -> tuple[bool, bool]:
        """Whether to fold case and whether to drop accents.

        Where nobody says it, case is folded unless the vocabulary has capitals, and
        accents are dropped where case is folded.
        """
        if self.lowercase is not None:
            lowercase = self.lowercase
        elif asked.lowercase is not None:
            lowercase = asked.lowercase
        else:
            lowercase = not is_cased(tokens)
        if self.strip_accents is not None:
            return lowercase, self.strip_accents
        asked_too = self.lowercase is None and asked.strip_accents is not None
        return lowercase, lowercase and (not asked_too or bool(asked.strip_accents))


_FOLDING_KEYS = (
    "do_lower_case",
    "strip_accents",
    "keep_accents",
    "tokenize_chinese_chars",
)


def load_folder(path: Path, asked: Asked) -> Made:
    """The tokenizer of a folder: tokenizer.json, else vocab.txt, else spiece.model.

    Raises:
        ValueError: there is none of them, or it is not the tokenizer of a BERT.
    """
    for name in _LOADERS:
        if (path / name).is_file():
            return load_file(path / name, read_settings(path), asked)
    raise ValueError(
        f"tokenizer.path={path} must hold one of {', '.join(_LOADERS)}; it holds none of "
        "them"
    )


def load_file(path: Path, settings: dict[str, Any], asked: Asked) -> Made:
    """The tokenizer of one file: *.json, *.model, or else a vocab.txt.

    Args:
        path: the file.
        settings: what tokenizer_config.json beside it says.
        asked: how to fold text where nothing says it.

    Raises:
        ValueError: it is not the tokenizer of a BERT.
    """
    named = {Path(name).suffix: load for name, load in _LOADERS.items()}
    load = named[path.suffix] if path.suffix in named else _from_vocab
    with naming(path):
        return load(path, settings, asked)


def _from_json(path: Path, settings: dict[str, Any], asked: Asked) -> Made:
    """tokenizer.json; settings beside it overrule the flags of a BertNormalizer."""
    description = read_json(path)
    said = Said.by(settings)
    found = description.get("normalizer")
    if isinstance(found, dict) and found.get("type") == "BertNormalizer":
        normalizer = dict(found)
        if said.lowercase not in (None, normalizer.get("lowercase")):
            normalizer |= {"lowercase": said.lowercase, "strip_accents": None}
        if said.strip_accents is not None:
            normalizer["strip_accents"] = said.strip_accents
        if said.chinese_apart is not None:
            normalizer["handle_chinese_chars"] = said.chinese_apart
        description["normalizer"] = normalizer
    return simplest(description, control_names(settings, _names_in(description)))


def _names_in(description: dict[str, Any]) -> set[str]:
    """Entries of a tokenizer.json, also of one that is not well made."""
    model, added = description.get("model"), description.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    names = set(vocabulary) if isinstance(vocabulary, dict) else set()
    if isinstance(vocabulary, list):
        names = {str(pair[0]) for pair in vocabulary if isinstance(pair, list) and pair}
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict):
            names.add(str(token.get("content")))
    return names


def _from_vocab(path: Path, settings: dict[str, Any], asked: Asked) -> Made:
    """vocab.txt, and what was added to it."""
    tokens = read_vocab(path)
    said = Said.by(settings)
    lowercase, strip_accents = said.folding(asked, tokens)
    added = _added_tokens(settings, tokens)
    names = control_names(settings, set(tokens))
    check_entries(tokens, names)
    berts_own = (
        not added
        and names == CONTROL_TOKENS
        and said.chinese_apart is not False
        and (lowercase or not strip_accents)
    )
    if berts_own:
        return WordPieceTokenizer(tokens, lowercase=lowercase, strip_accents=strip_accents)
    normalizer = bert_normalizer(
        lowercase, strip_accents, chinese_apart=said.chinese_apart is not False
    )
    backend = bert_backend(tokens, normalizer, names)
    backend.add_tokens(added)
    return PipelineTokenizer(json.loads(backend.to_str()), names)


def _added_tokens(
    settings: dict[str, Any], tokens: Sequence[str]
) -> list[tokenizers.AddedToken]:
    """Tokens that Transformers added behind the entries of vocab.txt.

    Raises:
        ValueError: their ids do not go on where those of vocab.txt end.
    """
    flags: dict[str, dict[str, Any]] = {}
    ids: dict[str, Any] = {}
    decoder = settings.get("added_tokens_decoder")
    for index, token in decoder.items() if isinstance(decoder, dict) else ():
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise ValueError(f"{CONFIG_FILE}: added_tokens_decoder must name its tokens")
        ids[token["content"]] = int(index) if index.isdecimal() else index
        flags[token["content"]] = {key: bool(token[key]) for key in _FLAGS if key in token}
    if ADDED_TOKENS_FILE in settings:
        ids |= settings[ADDED_TOKENS_FILE]
    known = set(tokens)
    beyond = {token: index for token, index in ids.items() if token not in known}
    ordered = sorted(beyond, key=lambda token: str(beyond[token]).zfill(12))
    due = range(len(tokens), len(tokens) + len(ordered))
    if [beyond[token] for token in ordered] != list(due):
        raise ValueError(
            f"the {len(ordered)} added tokens must have the ids from {len(tokens)} on, "
            f"where vocab.txt ends; they have {[beyond[t] for t in ordered]}"
        )
    return [
        tokenizers.AddedToken(token, **(flags[token] if token in flags else {}))
        for token in ordered
    ]


def _from_spiece(path: Path, settings: dict[str, Any], asked: Asked) -> Made:
    """A model of SentencePiece."""
    model = read_bytes(path)
    pieces = pieces_of(model)
    lowercase, strip_accents = Said.by(settings).folding(asked, pieces)
    return SentencePieceTokenizer(
        model,
        lowercase=lowercase,
        strip_accents=strip_accents,
        control_tokens=control_names(settings, set(pieces)),
    )


_LOADERS: dict[str, Callable[[Path, dict[str, Any], Asked], Made]] = {
    "tokenizer.json": _from_json,
    "vocab.txt": _from_vocab,
    "spiece.model": _from_spiece,
}
