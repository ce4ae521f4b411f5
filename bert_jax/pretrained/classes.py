"""The models as people use them: `from_pretrained`, call, `save_pretrained`."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from bert_jax.bert_config import BertConfig
from bert_jax.model import answers, bert, heads, pretraining
from bert_jax.model.inputs import check_ids
from bert_jax.parallel.placement import make_constrain
from bert_jax.pretrained.buckets import call_in_buckets, can_be_bucketed
from bert_jax.pretrained.config_files import replaced
from bert_jax.pretrained.export import save_hugging_face
from bert_jax.pretrained.load_report import LoadReport
from bert_jax.pretrained.loading import Plan, load_model
from bert_jax.pretrained.sources import open_source
from bert_jax.text.bert_tokenizer import BertTokenizer

_IDS = ("input_ids", "token_type_ids", "position_ids")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_OPTIONS = ("output_hidden_states", "output_attentions")


class _Pretrained:
    """Adds loading, saving and calls in buckets to a network."""

    config: BertConfig
    num_id_dims: ClassVar[int] = 2  # of input_ids

    if not TYPE_CHECKING:  # a type checker sees the network's own

        def __call__(self, *inputs: Any, **named: Any) -> Any:
            """As the network; values of any length take the program of their bucket.

            Tracers, labels and `dropout_seeds` go to the network as they are.
            """
            given = {**dict(zip(_INPUTS, inputs, strict=False)), **named}
            given = {name: value for name, value in given.items() if value is not None}
            options = {name: given.pop(name) for name in _OPTIONS if name in given}
            is_table = "input_ids" in given and (
                np.ndim(given["input_ids"]) == self.num_id_dims
            )
            if not is_table or len(inputs) > len(_INPUTS) or not can_be_bucketed(given):
                return super().__call__(*inputs, **named)
            ids = [given[name] if name in given else None for name in _IDS]
            check_ids(self.config, *ids)
            longest = self.config.max_position_embeddings
            return call_in_buckets(self, given, options, longest)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: jnp.dtype = jnp.float32,
        mesh: Mesh | None = None,
        strict_head: bool = False,
        **config_overrides: Any,
    ) -> Self:
        """A trained model.

        Args:
            path: a folder of Hugging Face with `config.json` and weights, a folder or
                prefix of a TensorFlow checkpoint of google-research/bert, a workdir of
                `bert-jax pretrain`, or a name of the Hugging Face Hub. Nothing is written
                there.
            dtype: numbers to compute in; parameters are float32.
            mesh: where to place the parameters, divided as in training; by default on one
                device.
            strict_head: whether to refuse a checkpoint that lacks weights of the head, or
                of the pooler, which otherwise start at random.
            config_overrides: fields of `BertConfig` to replace; `num_labels` makes a new
                classifier where the checkpoint's has another size. The activation of a
                checkpoint of 2018 is the tanh form of GELU unless `hidden_act="gelu"`.

        Raises:
            ValueError: there is no such model, it is corrupt, or it does not fit.

        Warns of weights that the checkpoint lacks or has too many, on one line.
        """
        model, report = cls.load(path, dtype=dtype, mesh=mesh, **config_overrides)
        if strict_head:
            report.check_trained()
        report.show(stacklevel=2)
        return model

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dtype: jnp.dtype = jnp.float32,
        mesh: Mesh | None = None,
        **config_overrides: Any,
    ) -> tuple[Self, LoadReport]:
        """As `from_pretrained`, and what did not fit; warns of nothing."""
        return _load(cls, path, dtype, mesh, config_overrides, {})

    def save_pretrained(
        self, directory: str | Path, tokenizer: BertTokenizer | None = None
    ) -> None:
        """Writes a folder that Transformers loads, and proves it by loading it again.

        It has `config.json`, `model.safetensors`, a model card (a README.md that is there
        stays), `probe.safetensors` (a batch and the answers to it) and `SHA256SUMS`.

        Args:
            directory: where to; made if absent. Files of the same names are replaced.
            tokenizer: of the model, to be saved beside it.

        Raises:
            RuntimeError: what was written, loaded again, gives other numbers; the
                directory is as it was.
        """
        save_hugging_face(self, tokenizer, Path(directory))


def _load(
    cls: Any,
    path: str | Path,
    dtype: jnp.dtype,
    mesh: Mesh | None,
    config_overrides: dict[str, Any],
    network_options: dict[str, Any],
) -> tuple[Any, LoadReport]:
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise ValueError(f"dtype={dtype!r} must be of floating point, as jnp.bfloat16")
    source = open_source(path)
    config = replaced(source.config, config_overrides)
    options = {**network_options, "dtype": dtype}
    if mesh is not None:
        options["constrain"] = _make_constrain(mesh)
    return load_model(Plan(cls, config, tuple(options.items())), source, mesh)


@functools.cache  # one function a mesh: models of it share their compiled programs
def _make_constrain(mesh: Mesh) -> Callable[[jax.Array, str], jax.Array]:
    """Rows over the devices, as in training; where they do not divide, all on each."""
    divided = make_constrain(mesh)
    num_shards = mesh.shape["data"] * mesh.shape["fsdp"]
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def constrain(activation: jax.Array, dims: str) -> jax.Array:
        del dims
        if activation.shape[0] % num_shards == 0:
            return divided(activation, "B")
        return jax.lax.with_sharding_constraint(activation, everywhere)

    return constrain


class BertModel(_Pretrained, bert.BertModel):
    """The encoder; see `bert_jax.model.bert.BertModel` for its arguments and call."""

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dtype: jnp.dtype = jnp.float32,
        mesh: Mesh | None = None,
        add_pooling_layer: bool = True,
        **config_overrides: Any,
    ) -> tuple[Self, LoadReport]:
        """As `from_pretrained`, which takes `add_pooling_layer` too; warns of nothing."""
        options = {"add_pooling_layer": add_pooling_layer}
        return _load(cls, path, dtype, mesh, config_overrides, options)


class BertForPreTraining(_Pretrained, pretraining.BertForPreTraining):
    """The encoder with both pretraining heads; see `bert_jax.model.pretraining`."""


class BertForMaskedLM(_Pretrained, heads.BertForMaskedLM):
    """The encoder with the head for masked words; see `bert_jax.model.heads`."""


class BertForNextSentencePrediction(_Pretrained, heads.BertForNextSentencePrediction):
    """The encoder with the head for sentence pairs; see `bert_jax.model.heads`."""


class BertForSequenceClassification(_Pretrained, heads.BertForSequenceClassification):
    """A classifier, or a regression, of texts; see `bert_jax.model.heads`."""


class BertForTokenClassification(_Pretrained, heads.BertForTokenClassification):
    """A classifier of tokens; see `bert_jax.model.heads`."""


class BertForQuestionAnswering(_Pretrained, answers.BertForQuestionAnswering):
    """Finds the answer to a question in a text; see `bert_jax.model.answers`."""


class BertForMultipleChoice(_Pretrained, answers.BertForMultipleChoice):
    """Chooses one of several texts; see `bert_jax.model.answers`."""

    num_id_dims = 3


# Name, here and in Transformers -> class.
MODEL_CLASSES: Mapping[str, Any] = types.MappingProxyType(
    {
        model.__name__: model
        for model in (
            BertModel,
            BertForPreTraining,
            BertForMaskedLM,
            BertForNextSentencePrediction,
            BertForSequenceClassification,
            BertForTokenClassification,
            BertForQuestionAnswering,
            BertForMultipleChoice,
        )
    }
)
