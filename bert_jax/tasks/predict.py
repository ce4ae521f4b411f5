"""Labels for texts, from a model that classifies sequences.

Shapes: B batch, N labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.pretrained.classes import BertForSequenceClassification
from bert_jax.pretrained.sources import open_source, tokenizer_folder
from bert_jax.tasks.batches import batches_of_texts
from bert_jax.text.bert_tokenizer import BertTokenizer

# Classes whose head has the names of one that classifies texts, and is none.
_OTHER_CLASSIFIERS = ("BertForTokenClassification", "BertForMultipleChoice")


def predict(
    model_path: str | Path, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """What a classifier says of each text; longer texts are cut.

    Args:
        model_path: a model that classifies sequences.
        texts: any number of them.
        pairs: the second segment of each, for a model of pairs.

    Returns:
        For each text, as `problem_type` of the model says: `label`, `score` and `scores`
        (single label: probabilities that sum to 1); `labels` and `scores` (several labels:
        those of probability 0.5 and more); or `value`, a number (regression).

    Raises:
        ValueError: the model has no trained classifier of texts.
    """
    class_name = open_source(model_path).class_name
    if class_name in _OTHER_CLASSIFIERS:
        raise ValueError(
            f"{model_path} must be a BertForSequenceClassification; it is a {class_name}, "
            "which says nothing of a whole text"
        )
    model = BertForSequenceClassification.from_pretrained(model_path, strict_head=True)
    tokenizer = BertTokenizer.from_pretrained(tokenizer_folder(model_path))
    limit = model.config.max_position_embeddings
    answers: list[dict[str, Any]] = [{} for _ in texts]
    for rows, inputs in batches_of_texts(tokenizer, texts, limit, pairs):
        logits_BN = np.asarray(model(**inputs).logits, np.float64)
        for row, logits_N in zip(rows, logits_BN, strict=True):
            answers[row] = _answer(logits_N, model.config)
    return answers


def _answer(logits_N: np.ndarray, config: Any) -> dict[str, Any]:
    names = [config.id2label[i] for i in range(config.num_labels)]
    if config.problem_type == "regression" or config.num_labels == 1:
        values = [float(value) for value in logits_N]
        return {"value": values[0] if len(values) == 1 else values}
    if config.problem_type == "multi_label_classification":
        scores = 1 / (1 + np.exp(-logits_N))
        found = [name for name, score in zip(names, scores, strict=True) if score >= 0.5]
        return {"labels": found, "scores": dict(zip(names, scores.tolist(), strict=True))}
    scores = np.exp(logits_N - logits_N.max())
    scores /= scores.sum()
    best = int(scores.argmax())
    return {
        "label": names[best],
        "score": float(scores[best]),
        "scores": dict(zip(names, scores.tolist(), strict=True)),
    }
