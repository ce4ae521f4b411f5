"""A tokenizer that is what its tokenizer.json says, whatever its steps.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from bert_jax.text.entries import AS_TOKENIZER_JSON_SAYS, CONTROL_TOKENS
from bert_jax.text.frames import frame_in
from bert_jax.text.rust_backed import MAX_WORD_CHARACTERS, RustBacked
from bert_jax.text.wordpiece import WordPieceTokenizer

# Kinds of model that BERTs are published with, and what they are called here.
_KINDS = {"WordPiece": "wordpiece", "Unigram": "sentencepiece"}
_UNIGRAM_SPACE = "\u2581"
JSON_FORMAT_VERSION = 2
# The published BERT's steps, as tokenizer.json has them.
_BERT_MODEL = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": MAX_WORD_CHARACTERS,
}
_BERT_FLAGS = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}


class PipelineTokenizer(RustBacked):
    """The steps of a tokenizer.json: of a BERT that departs from the published one.

    Such are those that keep Chinese characters together, that have tokens added to
    their vocabulary, other names for [CLS] and its like, or unigram pieces.
    """

    def __init__(
        self, description: dict[str, Any], control_tokens: Sequence[str] = CONTROL_TOKENS
    ):
        """A tokenizer by the content of a tokenizer.json.

        Args:
            description: the content; what it says of truncation and padding is not used.
            control_tokens: its names of [PAD], [UNK], [CLS], [SEP] and [MASK].

        Raises:
            ValueError: the description is not one of a BERT's tokenizer.
        """
        self._description = {**description, "truncation": None, "padding": None}
        written = json.dumps(self._description, ensure_ascii=False, sort_keys=True)
        self._backend = parse_backend(written)
        self._plain = parse_backend(written)
        self._plain.encode_special_tokens = True
        model_type = type(self._backend.model).__name__
        if model_type not in _KINDS:
            raise ValueError(
                f"model must be one of {', '.join(_KINDS)}, as BERT's are; it is of type "
                f"{model_type}"
            )
        self.kind = _KINDS[model_type]
        tokens = in_order(self._backend.get_vocab(with_added_tokens=True))
        super().__init__(tokens, *self._folding(), control_tokens)
        self._check_unknown()
        if self.kind == "wordpiece":
            self._check_case()
        for backend in (self._backend, self._plain):
            backend.add_special_tokens(list(self.control_tokens))
        self.frame = frame_in(self._description, self.frame)
        framing = self.frame.before + self.frame.between + self.frame.after
        if any(index >= self.vocab_size for index in framing):
            raise ValueError("post_processor must add entries of the vocabulary")
        self.word_starts_V = self._mark_word_starts(self._word_starts())
        self.sha256 = self._digest(written.encode("utf-8"))

    def __reduce__(self) -> tuple[Any, ...]:
        return PipelineTokenizer, (self._description, self.control_tokens)

    def _check_unknown(self) -> None:
        """Refuses a model that has another entry than [UNK], or none, for unknown text."""
        if self.kind == "wordpiece":
            found = self._backend.model.unk_token
        else:
            index = self._description["model"].get("unk_id")
            found = None if index is None else self.tokens[index]
        if found != self.control_tokens[1]:
            raise ValueError(
                f"model.unk_token={found!r} must be {self.control_tokens[1]!r}, the "
                "unk_token of the tokenizer's settings"
            )

    def _folding(self) -> tuple[bool, bool]:
        """Whether the steps fold case, and whether they drop accents."""
        lowercase = strip_accents = False
        for step in _steps(self._description.get("normalizer")):
            bert = step.get("type") == "BertNormalizer"
            lower = step.get("type") == "Lowercase" or (bert and step["lowercase"])
            strip = step.get("type") == "StripAccents"
            if bert:
                said = step.get("strip_accents")
                strip = lower if said is None else said
            lowercase, strip_accents = lowercase or lower, strip_accents or strip
        return lowercase, strip_accents

    def _word_starts(self) -> list[bool]:
        if self.kind == "sentencepiece":
            return [token.startswith(_UNIGRAM_SPACE) for token in self.tokens]
        prefix = self._backend.model.continuing_subword_prefix
        return [not (prefix and token.startswith(prefix)) for token in self.tokens]

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "format_version": JSON_FORMAT_VERSION}

    def save(self, directory: Path) -> None:
        """Writes tokenizer.json, our settings, and the entries of a WordPiece vocabulary.

        Transformers reads it as `PreTrainedTokenizerFast`, which takes the steps as they
        are; its `BertTokenizer` would replace them by BERT's.
        """
        directory.mkdir(parents=True, exist_ok=True)
        written = json.dumps(self._description, ensure_ascii=False, indent=2) + "\n"
        (directory / "tokenizer.json").write_text(written, encoding="utf-8")
        if self.kind == "wordpiece" and _fit_lines(self.tokens):
            vocabulary = "".join(f"{token}\n" for token in self.tokens)
            (directory / "vocab.txt").write_bytes(vocabulary.encode("utf-8"))
        self._save_settings(directory, AS_TOKENIZER_JSON_SAYS)


def simplest(
    description: dict[str, Any], control_tokens: Sequence[str] = CONTROL_TOKENS
) -> WordPieceTokenizer | PipelineTokenizer:
    """The tokenizer of a tokenizer.json: BERT's own wherever it says just that.

    Raises:
        ValueError: the description is not one of a BERT's tokenizer.
    """
    if tuple(control_tokens) == CONTROL_TOKENS and _has_berts_steps(description):
        normalizer = description["normalizer"]
        lowercase, strip = normalizer["lowercase"], normalizer["strip_accents"]
        tokens = in_order(description["model"]["vocab"])
        if _fit_lines(tokens):
            return WordPieceTokenizer(
                tokens,
                lowercase=lowercase,
                strip_accents=lowercase if strip is None else strip,
            )
    return PipelineTokenizer(description, control_tokens)


def _fit_lines(tokens: Sequence[str]) -> bool:
    """Whether a vocab.txt can hold these entries."""
    marked = [token for token in tokens[:1] if token.startswith("\ufeff")]
    return not marked and not any("\n" in t or t.endswith("\r") for t in tokens)


def _has_berts_steps(description: dict[str, Any]) -> bool:
    """Whether a tokenizer.json does what `WordPieceTokenizer` does with its entries."""
    model, normalizer = description.get("model"), description.get("normalizer")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        return False
    vocabulary = model["vocab"]
    if {**model, "vocab": None} != {**_BERT_MODEL, "vocab": None}:
        return False
    if not all(type(index) is int for index in vocabulary.values()):
        return False
    foldings = [
        _berts_folding(low, strip)
        for low, strip in ((True, True), (True, False), (True, None), (False, False))
    ] + [_berts_folding(False, None)]
    added = [
        {"id": vocabulary.get(token), "content": token, **_BERT_FLAGS}
        for token in CONTROL_TOKENS
    ]
    found = description.get("added_tokens")
    return (
        normalizer in foldings
        and description.get("pre_tokenizer") == {"type": "BertPreTokenizer"}
        and description.get("post_processor") in (None, *_berts_frames(vocabulary))
        and isinstance(found, list)
        and all(token in added for token in found)
    )


def _berts_folding(lowercase: bool, strip_accents: bool | None) -> dict[str, Any]:
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }


def _berts_frames(vocabulary: dict[str, int]) -> list[dict[str, Any]]:
    """The two ways in which tokenizer.json says [CLS] A [SEP] B [SEP]."""
    cls, sep = vocabulary.get("[CLS]"), vocabulary.get("[SEP]")

    def special(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def text(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)]
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), special("[SEP]", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [index], "tokens": [token]}
            for token, index in (("[CLS]", cls), ("[SEP]", sep))
        },
    }
    return [
        template,
        {"type": "BertProcessing", "sep": ["[SEP]", sep], "cls": ["[CLS]", cls]},
    ]


def _steps(normalizer: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The steps of a normalizer that may be a sequence, or a sequence of sequences."""
    if normalizer is None:
        return
    if normalizer.get("type") == "Sequence":
        for step in normalizer["normalizers"]:
            yield from _steps(step)
    else:
        yield normalizer


def parse_backend(text: str) -> tokenizers.Tokenizer:
    """A tokenizer of the Rust library by the content of a tokenizer.json.

    Raises:
        ValueError: the library cannot read it.
    """
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:
        if type(error) is not Exception:  # the library raises nothing narrower
            raise
        raise ValueError(
            f"it must be as Hugging Face `tokenizers` writes it: {error}"
        ) from None


def in_order(ids: dict[str, int]) -> list[str]:
    """The entries in the order of their ids, which must be 0, 1, 2 …"""
    tokens = sorted(ids, key=ids.__getitem__)
    wrong = next((n for n, token in enumerate(tokens) if ids[token] != n), None)
    if wrong is not None:
        raise ValueError(
            f"ids must be 0 to {len(tokens) - 1}, each once; {tokens[wrong]!r} has "
            f"{ids[tokens[wrong]]} where {wrong} is due"
        )
    return tokens
