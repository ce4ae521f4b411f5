"""The tokenizer under the name and with the manners that people know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.text.entries import CONFIG_FILE, CONTROL_TOKENS
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer

DEFAULT_MAX_LENGTH = 512
_LARGEST_MAX_LENGTH = 1_000_000
_PADDINGS = (False, True, "longest", "max_length")
_TRUNCATIONS = (False, True, "longest_first", "only_first", "only_second")


class BertTokenizer:
    """Texts, or pairs of texts, to what a BERT model takes.

    Differs: from Transformers' class of this name in returning a plain dict, and int32
    arrays; and an empty text_pair is a pair, with its own [SEP].
    """

    def __init__(self, tokenizer: Tokenizer, *, model_max_length: int = DEFAULT_MAX_LENGTH):
        """Wraps a tokenizer; `from_pretrained` is the usual way in."""
        self.tokenizer = tokenizer
        self.model_max_length = model_max_length
        self.vocab_size = tokenizer.vocab_size
        tokens = CONTROL_TOKENS
        self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token = (
            tokens
        )
        self.pad_token_id = tokenizer.pad_id
        self.unk_token_id = tokenizer.unk_id
        self.cls_token_id = tokenizer.cls_id
        self.sep_token_id = tokenizer.sep_id
        self.mask_token_id = tokenizer.mask_id
        self.all_special_ids = list(tokenizer.special_ids)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, do_lower_case: bool | None = None
    ) -> BertTokenizer:
        """The tokenizer of a workdir, of a folder with tokenizer files, or a vocab.txt.

        Args:
            path: where it lies; of a workdir, its `tokenizer` folder is read.
            do_lower_case: whether to fold case, where the files do not say; a bare
                vocab.txt does not. Folded by default.

        Raises:
            ValueError: there is no tokenizer, or it is not one of BERT's.
        """
        place = Path(path)
        if (place / "tokenizer" / CONFIG_FILE).is_file():
            place = place / "tokenizer"
        lowercase = do_lower_case is None or do_lower_case
        tokenizer = load_tokenizer(place, lowercase=lowercase, strip_accents=lowercase)
        return cls(tokenizer, model_max_length=_stored_max_length(place))

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the files that `from_pretrained`, here and in Transformers, reads."""
        self.tokenizer.save(Path(directory))
        path = Path(directory) / CONFIG_FILE
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings["model_max_length"] = self.model_max_length
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def __len__(self) -> int:
        return self.vocab_size

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        add_special_tokens: bool = True,
    ) -> dict[str, Any]:
        """Encodes one text or a list of them, each alone or with its pair.

        Args:
            text: one text or a batch of B texts.
            text_pair: the second segment of each, of the same form.
            padding: False; True or "longest": to the longest of the batch;
                "max_length": to max_length.
            truncation: False; True or "longest_first": tokens are taken from the longer
                segment until it fits; "only_first" or "only_second".
            max_length: tokens, [CLS] and [SEP] included; model_max_length by default.
            return_tensors: None for lists, "np" for int32[B, L] arrays.
            add_special_tokens: whether to put [CLS] and [SEP] in.

        Returns:
            input_ids, token_type_ids (1 for the second segment) and attention_mask (0
            for padding): for one text lists of numbers, for a batch lists of lists.

        Raises:
            ValueError: an option has an impossible value, the texts and their pairs
                differ in number, or an array is asked for of rows that differ in length.
        """
        _check_option("padding", padding, _PADDINGS)
        _check_option("truncation", truncation, _TRUNCATIONS)
        _check_option("return_tensors", return_tensors, (None, "np"))
        single = isinstance(text, str)
        firsts, seconds = _as_batch(text, text_pair)
        limit = self.model_max_length if max_length is None else max_length
        rows = [
            self._row(first, second, truncation, limit, add_special_tokens)
            for first, second in zip(firsts, seconds, strict=True)
        ]
        width = 0
        if padding == "max_length":
            width = limit
        elif padding:
            width = max((len(ids) for ids, _ in rows), default=0)
        batch = self._pad(rows, width)
        if return_tensors == "np":
            return _arrays(batch)
        return {name: values[0] for name, values in batch.items()} if single else batch

    def _row(
        self,
        first: str,
        second: str | None,
        truncation: bool | str,
        limit: int,
        special: bool,
    ) -> tuple[list[int], list[int]]:
        """(ids, token types) of one text or pair, truncated, not padded."""
        a = self.tokenizer.encode(first)
        b = None if second is None else self.tokenizer.encode(second)
        if truncation:
            added = (2 if b is None else 3) if special else 0
            keep_a, keep_b = _kept_lengths(len(a), len(b or []), limit - added, truncation)
            a, b = a[:keep_a], None if b is None else b[:keep_b]
        if special:
            a = [self.cls_token_id, *a, self.sep_token_id]
            b = None if b is None else [*b, self.sep_token_id]
        tail = b or []
        return a + tail, [0] * len(a) + [1] * len(tail)

    def _pad(
        self, rows: list[tuple[list[int], list[int]]], width: int
    ) -> dict[str, list[list[int]]]:
        batch: dict[str, list[list[int]]] = {
            "input_ids": [],
            "token_type_ids": [],
            "attention_mask": [],
        }
        for ids, types in rows:
            missing = max(0, width - len(ids))
            batch["input_ids"].append(ids + [self.pad_token_id] * missing)
            batch["token_type_ids"].append(types + [0] * missing)
            batch["attention_mask"].append([1] * len(ids) + [0] * missing)
        return batch

    def tokenize(self, text: str) -> list[str]:
        """The entries of the vocabulary that `text` becomes; none are added."""
        return [self.tokenizer.id_to_token(index) for index in self.tokenizer.encode(text)]

    def decode(self, ids: Any, *, skip_special_tokens: bool = False) -> str:
        """Text of one row of ids."""
        return self.tokenizer.decode(_as_ids(ids), skip_special=skip_special_tokens)

    def batch_decode(self, rows: Any, *, skip_special_tokens: bool = False) -> list[str]:
        """Texts of rows of ids."""
        return [self.decode(row, skip_special_tokens=skip_special_tokens) for row in rows]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The entry at an id, or the list of entries at a list of ids."""
        if np.ndim(ids) == 0:
            return self.tokenizer.id_to_token(int(ids))
        return [self.tokenizer.id_to_token(index) for index in _as_ids(ids)]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of an entry, or of each of a list; an unknown one has that of [UNK]."""
        if isinstance(tokens, str):
            index = self.tokenizer.token_to_id(tokens)
            return self.unk_token_id if index is None else index
        return [self.convert_tokens_to_ids(token) for token in tokens]


def _stored_max_length(place: Path) -> int:
    """model_max_length of the folder's settings; Transformers writes 1e30 for "none"."""
    path = place / CONFIG_FILE
    if not path.is_file():
        return DEFAULT_MAX_LENGTH
    settings = json.loads(path.read_text(encoding="utf-8"))
    if "model_max_length" not in settings:
        return DEFAULT_MAX_LENGTH
    return int(min(settings["model_max_length"], _LARGEST_MAX_LENGTH))


def _check_option(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if not any(
        value is item or (isinstance(item, str) and value == item) for item in allowed
    ):
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"{name}={value!r} must be one of {choices}")


def _as_batch(
    text: str | Sequence[str], text_pair: str | Sequence[str] | None
) -> tuple[list[str], Sequence[str | None]]:
    """Texts and their pairs as lists of one length."""
    firsts = [text] if isinstance(text, str) else list(text)
    if text_pair is None:
        seconds: list[str | None] = [None] * len(firsts)
    else:
        seconds = [text_pair] if isinstance(text_pair, str) else list(text_pair)
    if len(seconds) != len(firsts) or (
        text_pair is not None and isinstance(text, str) != isinstance(text_pair, str)
    ):
        raise ValueError(
            f"text_pair holds {len(seconds)} texts and must be like text, which holds "
            f"{len(firsts)}; give each text its pair"
        )
    for name, values in (("text", firsts), ("text_pair", seconds)):
        wrong = next((v for v in values if not isinstance(v, str | None)), None)
        if wrong is not None:
            raise ValueError(
                f"{name} must be a string or a list of strings, not {wrong!r:.60}"
            )
    return firsts, seconds


def _kept_lengths(a: int, b: int, target: int, truncation: bool | str) -> tuple[int, int]:
    """How many tokens of each segment stay, so that together they are at most `target`.

    Source: the arithmetic of Hugging Face `tokenizers`, utils/truncation.rs.
    """
    if a + b <= target:
        return a, b
    if truncation == "only_first":
        kept = target - b, b
    elif truncation == "only_second":
        kept = a, target - a
    else:
        short, long = min(a, b), max(a, b)
        if short + max(short, target - short) <= target:
            long = target - short
        else:
            short, long = target // 2, target - target // 2
        kept = (short, long) if a <= b else (long, short)
    if min(kept) < 0 or (0 in kept and min(a, b) > 0):
        raise ValueError(
            f"truncation={truncation!r} leaves no token of a text of {a} and {b} tokens in "
            f"{target}; raise max_length"
        )
    return kept


def _arrays(batch: dict[str, list[list[int]]]) -> dict[str, np.ndarray]:
    lengths = {len(row) for row in batch["input_ids"]}
    if len(lengths) > 1:
        raise ValueError(
            f"return_tensors='np' needs rows of one length, these have {min(lengths)} to "
            f"{max(lengths)} tokens; set padding=True (and truncation=True)"
        )
    return {name: np.array(rows, dtype=np.int32) for name, rows in batch.items()}


def _as_ids(ids: Any) -> list[int]:
    return [int(index) for index in np.asarray(ids).reshape(-1)]
