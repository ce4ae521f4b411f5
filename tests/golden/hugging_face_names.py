"""Arrays named as Transformers names them → the parameter tree of bert_jax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.bert_config import BertConfig

Arrays = Mapping[str, np.ndarray]


def params_from_hugging_face(arrays: Arrays, config: BertConfig) -> dict[str, Any]:
    """Parameters of `BertForPreTraining` from the state of its Transformers twin.

    Raises:
        KeyError: an array is missing.
        ValueError: an array is left over.
    """
    unread = dict(arrays)
    # The same tensor under a second name.
    for tied in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"):
        unread.pop(tied, None)
    padding = config.padded_vocab_size - config.vocab_size

    def dense(name: str) -> dict[str, np.ndarray]:
        kernel, bias = unread.pop(f"{name}.weight").T, unread.pop(f"{name}.bias")
        return {"kernel": kernel, "bias": bias}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {"scale": unread.pop(f"{name}.weight"), "bias": unread.pop(f"{name}.bias")}

    def embedding(name: str, padding: int = 0) -> dict[str, np.ndarray]:
        table = unread.pop(f"bert.embeddings.{name}_embeddings.weight")
        return {"embedding": np.pad(table, ((0, padding), (0, 0)))}

    def layer(index: int) -> dict[str, Any]:
        name = f"bert.encoder.layer.{index}"
        heads = (config.num_attention_heads, config.head_size)
        parts = [
            dense(f"{name}.attention.self.{part}") for part in ("query", "key", "value")
        ]
        output = dense(f"{name}.attention.output.dense")
        return {
            "attention": {
                "qkv": {
                    "kernel": np.stack([p["kernel"].reshape(-1, *heads) for p in parts], 1),
                    "bias": np.stack([p["bias"].reshape(heads) for p in parts]),
                },
                "output": {
                    "kernel": output["kernel"].reshape(*heads, -1),
                    "bias": output["bias"],
                },
            },
            "attention_norm": norm(f"{name}.attention.output.LayerNorm"),
            "feed_forward_in": dense(f"{name}.intermediate.dense"),
            "feed_forward_out": dense(f"{name}.output.dense"),
            "feed_forward_norm": norm(f"{name}.output.LayerNorm"),
        }

    params = {
        "bert": {
            "embeddings": {
                "word": embedding("word", padding),
                "position": embedding("position"),
                "token_type": embedding("token_type"),
                "norm": norm("bert.embeddings.LayerNorm"),
            },
            "encoder": {
                "layers": _stack([layer(i) for i in range(config.num_hidden_layers)])
            },
            "pooler": dense("bert.pooler.dense"),
        },
        "masked_lm": {
            "transform": dense("cls.predictions.transform.dense"),
            "norm": norm("cls.predictions.transform.LayerNorm"),
            "bias": np.pad(unread.pop("cls.predictions.bias"), (0, padding)),
        },
        "next_sentence": dense("cls.seq_relationship"),
    }
    if unread:
        raise ValueError(f"arrays that have no place: {', '.join(sorted(unread))}")
    return params


def _stack(layers: list[Any]) -> Any:
    """Equal nested dicts → one, whose arrays have a new leading dim."""
    if isinstance(layers[0], dict):
        return {key: _stack([layer[key] for layer in layers]) for key in layers[0]}
    return np.stack(layers)
