"""The words that a trained model puts in place of [MASK]."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.data.manifest import load_manifest
from bert_jax.data.shards import ShardSet
from bert_jax.pretrained.classes import BertForMaskedLM
from bert_jax.pretrained.sources import tokenizer_folder
from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.tokenizer import Tokenizer

# Tokens of a sentence that serves as an example.
_SHORTEST, _LONGEST = 8, 24


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One candidate for a [MASK].

    Attributes:
        token: the token, as the vocabulary has it.
        probability: of this token among all of the vocabulary.
        text: the input with this [MASK] filled in.
    """

    token: str
    probability: float
    text: str


def fill_mask(
    model_path: str | Path, texts: Sequence[str], top_k: int
) -> list[list[Prediction]]:
    """The `top_k` likeliest tokens for the first [MASK] of each text.

    Args:
        model_path: whatever `BertForMaskedLM.from_pretrained` takes.
        texts: each with at least one [MASK].
        top_k: candidates a text; all of the vocabulary where it has fewer tokens.

    Raises:
        ValueError: a text has no [MASK] or is longer than the model can take, or the
            tokenizer is not the one that the model was trained with.
    """
    tokenizer = BertTokenizer.from_pretrained(tokenizer_folder(model_path)).tokenizer
    rows = [_encode(tokenizer, text) for text in texts]
    model = BertForMaskedLM.from_pretrained(model_path, strict_head=True)
    limit = model.config.max_position_embeddings
    for text, ids in zip(texts, rows, strict=True):
        if len(ids) > limit:
            raise ValueError(
                f"{text[:40]!r}… has {len(ids)} tokens; it must have at most {limit}; "
                "shorten it"
            )
    length = max(len(ids) for ids in rows)
    input_ids_BL = np.full((len(rows), length), tokenizer.pad_id, np.int32)
    for row, ids in zip(input_ids_BL, rows, strict=True):
        row[: len(ids)] = ids
    positions_B1 = (input_ids_BL == tokenizer.mask_id).argmax(axis=1)[:, None]
    lengths_B = np.array([len(ids) for ids in rows])
    logits_B1V = model(
        input_ids_BL,
        np.arange(length) < lengths_B[:, None],
        masked_positions=jnp.asarray(positions_B1),
    ).logits
    # A model may have more words than its tokenizer has entries: those are no answers.
    probabilities_BV = jax.nn.softmax(logits_B1V[:, 0, : tokenizer.vocab_size])
    top_k = min(top_k, probabilities_BV.shape[-1])
    probabilities_BK, ids_BK = jax.lax.top_k(probabilities_BV, top_k)
    return [
        [
            Prediction(
                token=tokenizer.id_to_token(int(index)),
                probability=float(probability),
                text=_filled(tokenizer, ids, int(index)),
            )
            for probability, index in zip(probabilities, indices, strict=True)
        ]
        for ids, probabilities, indices in zip(rows, probabilities_BK, ids_BK, strict=True)
    ]


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids = tokenizer.encode(text)
    if tokenizer.mask_id not in ids:
        raise ValueError(
            f"{text[:60]!r} must have a [MASK]; for example 'Paris is the [MASK] of "
            "France.'"
        )
    return [tokenizer.cls_id, *ids, tokenizer.sep_id]


def _filled(tokenizer: Tokenizer, ids: Sequence[int], index: int) -> str:
    """The row as text, its first [MASK] replaced by `index`; other masks stay."""
    inner = list(ids[1:-1])
    inner[inner.index(tokenizer.mask_id)] = index
    return tokenizer.decode(inner)


def held_out_examples(data_directory: Path, tokenizer: Tokenizer, count: int) -> list[str]:
    """Sentences of the held-out text with one whole word masked, always the same ones.

    Args:
        data_directory: prepared data of a run.
        tokenizer: the run's tokenizer.
        count: sentences to return; fewer where the text has too few.
    """
    manifest = load_manifest(data_directory)
    shards = ShardSet(data_directory, "eval", manifest.splits["eval"]["shards"])
    offsets = shards.sentence_offsets
    texts: list[str] = []
    for index in range(0, len(offsets) - 1, max(1, (len(offsets) - 1) // (20 * count))):
        start, length = int(offsets[index]), int(offsets[index + 1] - offsets[index])
        if not _SHORTEST <= length <= _LONGEST:
            continue
        ids = shards.ids(shards.stretch(start, length)).tolist()
        place = _whole_word(tokenizer, ids)
        if place is not None and tokenizer.unk_id not in ids:
            ids[place] = tokenizer.mask_id
            texts.append(tokenizer.decode(ids))
        if len(texts) == count:
            break
    return texts


def _whole_word(tokenizer: Tokenizer, ids: Sequence[int]) -> int | None:
    """Where, past the middle of a sentence, a word of one token stands; None if nowhere."""
    starts = tokenizer.word_starts_V[list(ids)]
    for place in range(len(ids) // 2, len(ids) - 1):
        token = tokenizer.id_to_token(ids[place]).lstrip("\u2581")
        if starts[place] and starts[place + 1] and len(token) > 2 and token.isalpha():
            return place
    return None
