"""`BertModel` and `BertForPreTraining` as people use them: `from_pretrained` and call."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.config import Config
from bert_jax.formats.orbax import check_hashes, load_params
from bert_jax.model import bert
from bert_jax.text.tokenizer import load_tokenizer


class _FromPretrained:
    """Adds `from_pretrained` to a network class."""

    # Where the parameters of this class lie among those of a pretraining model.
    _prefix: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: jnp.dtype = jnp.float32, **config_overrides: Any
    ) -> Self:
        """A trained model from the newest checkpoint of a run.

        Args:
            path: workdir of `bert-jax pretrain`; nothing is written there.
            dtype: numbers to compute in; parameters stay float32.
            config_overrides: fields of `BertConfig` to replace; those that would change
                the shape of a parameter cannot be.

        Raises:
            ValueError: `path` has no checkpoint, its tokenizer is not the one that the
                checkpoint was trained with, or an override changes a shape.
        """
        step, params, meta = load_params(Path(path) / "checkpoints")
        tokenizer = Path(path) / "tokenizer"
        if tokenizer.is_dir():
            check_hashes(step, meta, tokenizer_sha256=load_tokenizer(tokenizer).sha256)
        config = Config.from_dict(meta["config"]).bert_config(meta["vocab_size"])
        for key in cls._prefix:
            params = params[key]
        fields = {**vars(config), **config_overrides}
        make = lambda: cls(BertConfig(**fields), dtype=dtype, rngs=nnx.Rngs(0))  # type: ignore[call-arg]  # noqa: E731
        graphdef, abstract = nnx.split(nnx.eval_shape(make))
        _check_shapes(nnx.to_pure_dict(abstract), params)
        model: Self = nnx.merge(graphdef, jax.tree.map(jnp.asarray, params))
        return model


def _check_shapes(expected: Any, found: Any) -> None:
    """Raises ValueError where two trees of arrays differ in names or shapes."""

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
            for path, leaf in leaves
        }

    wanted, given = shapes(expected), shapes(found)
    for name in sorted(wanted.keys() | given.keys()):
        if name not in wanted or name not in given or wanted[name] != given[name]:
            raise ValueError(
                f"parameter {name} has shape {given[name] if name in given else None}; the "
                f"model wants {wanted[name] if name in wanted else None}"
            )


class BertModel(_FromPretrained, bert.BertModel):
    """The encoder; see `bert_jax.model.bert.BertModel` for its arguments and call."""

    _prefix = ("bert",)


class BertForPreTraining(_FromPretrained, bert.BertForPreTraining):
    """The encoder with both pretraining heads; see `bert_jax.model.bert`."""
