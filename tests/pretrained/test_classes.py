"""The public classes: loading a run, calling."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pretrained.small_models import (
    CLASSES,
    IDS,
    MASK,
    make_arrays,
    make_model,
    write_folder,
)

import bert_jax
from bert_jax.formats.orbax import load_params
from bert_jax.pretrained import classes, config_files
from bert_jax.pretrained.classes import (
    BertForPreTraining,
    BertForTokenClassification,
    BertModel,
)
from bert_jax.pretrained.sources import architecture_of, tokenizer_folder


@pytest.mark.parametrize("class_name", CLASSES)
def test_public_names_are_these_classes(class_name: str) -> None:
    assert getattr(bert_jax, class_name) is getattr(classes, class_name)
    assert class_name in config_files._CLASSES


def test_weights_are_those_of_the_newest_checkpoint(tiny_workdir: Path) -> None:
    model = BertForPreTraining.from_pretrained(tiny_workdir)
    step, params, _ = load_params(tiny_workdir / "checkpoints")
    assert step == 6
    for found, saved in (
        (model.bert.pooler.kernel, params["bert"]["pooler"]["kernel"]),
        (model.masked_lm.bias, params["masked_lm"]["bias"]),
        (model.next_sentence.kernel, params["next_sentence"]["kernel"]),
    ):
        assert found[...].dtype == jnp.float32
        np.testing.assert_array_equal(found[...], saved)


def test_both_classes_agree(tiny_workdir: Path) -> None:
    model = BertForPreTraining.from_pretrained(str(tiny_workdir))
    encoder = BertModel.from_pretrained(tiny_workdir)
    output = model(IDS, MASK, output_hidden_states=True)
    encoded = encoder(IDS, MASK)
    assert output.prediction_logits.shape == (2, 6, model.config.vocab_size)
    np.testing.assert_allclose(
        output.hidden_states[-1], encoded.last_hidden_state, atol=1e-6
    )
    assert encoded.pooler_output.shape == (2, 32)
    # What is masked out does not enter.
    other = np.where(MASK, IDS, 50)
    np.testing.assert_allclose(
        encoder(other, MASK).last_hidden_state[1, :3],
        encoded.last_hidden_state[1, :3],
        atol=1e-6,
    )


def test_dtype_is_what_it_computes_in(tiny_workdir: Path) -> None:
    whole = BertModel.from_pretrained(tiny_workdir)
    half = BertModel.from_pretrained(tiny_workdir, dtype=jnp.bfloat16)
    assert half.pooler.kernel[...].dtype == jnp.float32
    a, b = whole(IDS, MASK).last_hidden_state, half(IDS, MASK).last_hidden_state
    assert b.dtype == jnp.bfloat16
    # Values of LayerNorm, of size 1; bfloat16 keeps 8 bits and two layers add up.
    np.testing.assert_allclose(a, b.astype(jnp.float32), atol=0.1)
    assert np.any(np.asarray(a) != np.asarray(b, np.float32))


def test_overrides(tiny_workdir: Path) -> None:
    plain = BertModel.from_pretrained(tiny_workdir)
    tanh = BertModel.from_pretrained(tiny_workdir, hidden_act="gelu_tanh")
    assert (plain.config.hidden_act, tanh.config.hidden_act) == ("gelu", "gelu_tanh")
    a, b = (model(IDS, MASK).last_hidden_state for model in (plain, tanh))
    assert 0 < np.max(np.abs(a - b)) < 1e-2


@pytest.mark.parametrize(
    "override", [{"hidden_size": 64}, {"max_position_embeddings": 64}, {"vocab_size": 900}]
)
def test_an_override_that_changes_a_shape_is_refused(
    tiny_workdir: Path, override: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"must fit .*; \S+ has shape \(.*\), not \("):
        BertModel.from_pretrained(tiny_workdir, **override)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"dtype": jnp.int32}, "dtype="),
        ({"id2label": 3}, "id2label='3' must give each"),
        ({"label2id": ["a", "b"]}, "label2id=.* must be a dict"),
        ({"label2id": {"a": 0, "b": 2}}, "id2label=.* must give each"),
    ],
)
def test_an_impossible_override_is_one_line(
    override: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, make_arrays("BertModel"), "BertModel")
    with pytest.raises(ValueError, match=f"^{said}") as error:
        BertModel.from_pretrained(folder, **override)
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_override_is_refused(tiny_workdir: Path) -> None:
    with pytest.raises(ValueError, match="hiden_size"):
        BertModel.from_pretrained(tiny_workdir, hiden_size=64)


def test_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"/nothing must be a folder .*; it is absent$"):
        BertModel.from_pretrained(tmp_path / "nothing")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match=r"has no checkpoint; train first$"):
        BertModel.from_pretrained(tmp_path)


def test_the_tokenizer_beside_it_must_be_that_of_the_checkpoint(
    tiny_workdir: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_workdir, tmp_path / "copy"))
    path = copy / "checkpoints" / "6" / "meta" / "metadata"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "tokenizer_sha256": "0" * 64})
    )
    with pytest.raises(ValueError, match=r"^checkpoint 6 has tokenizer_sha256=0{12}…; "):
        BertModel.from_pretrained(copy)
    shutil.rmtree(copy / "tokenizer")  # none at hand: it is the caller's affair
    BertModel.from_pretrained(copy)


def test_a_missing_parameter_is_named(tiny_workdir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_workdir, tmp_path / "copy"))
    path = copy / "checkpoints" / "6" / "meta" / "metadata"
    meta = json.loads(path.read_text())
    meta["config"]["model"]["num_hidden_layers"] = 3
    path.write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r"; bert/encoder/layers/\S+ has shape \(2, "):
        BertForPreTraining.from_pretrained(copy)


def test_a_run_lends_its_encoder_to_every_class(tiny_workdir: Path) -> None:
    with pytest.warns(UserWarning, match=r"classifier/bias \(absent\), classifier/kernel"):
        model = BertForTokenClassification.from_pretrained(tiny_workdir, num_labels=4)
    assert model(IDS, MASK).logits.shape == (2, 6, 4)
    encoder = BertModel.from_pretrained(tiny_workdir)
    np.testing.assert_allclose(
        model(IDS, MASK, output_hidden_states=True).hidden_states[-1],
        encoder(IDS, MASK).last_hidden_state,
        atol=1e-6,
    )


def test_outputs_by_name_and_number() -> None:
    model = make_model("BertForSequenceClassification")
    output = model(IDS, MASK, output_hidden_states=True)
    assert output[0] is output["logits"] is output.logits
    assert output.to_tuple() == output[:] == (output.logits, output.hidden_states)
    with_loss = model(IDS, MASK, labels=np.array([0, 1]))
    assert with_loss[0] is with_loss.loss and with_loss[1] is with_loss.logits
    with pytest.raises(KeyError):
        output["nothing"]


def test_the_class_of_a_checkpoint(shared_data: Path, tiny_workdir: Path, tmp_path: Path):
    weights = shared_data / "hf_weights"
    tf1 = shared_data / "tf_checkpoint" / "tiny"
    for path, expected in (
        (weights / "tiny_bert_safetensors", "BertModel"),
        (weights / "tiny_ner_pytorch_bin", "BertForTokenClassification"),
        (tf1 / "bert_model.ckpt", "BertForPreTraining"),
        (tiny_workdir, "BertForPreTraining"),
    ):
        assert architecture_of(path) == expected
    # What published models say of themselves leaves out a head that they have.
    arrays = make_arrays("BertForPreTraining")
    folder = write_folder(tmp_path / "a", arrays, "BertForMaskedLM")
    assert architecture_of(folder) == "BertForPreTraining"
    folder = write_folder(
        tmp_path / "b", make_arrays("BertForQuestionAnswering"), architectures=["X"]
    )
    assert architecture_of(folder) == "BertForQuestionAnswering"


def test_the_tokenizer_of_a_checkpoint(shared_data: Path, tiny_workdir: Path) -> None:
    folder = shared_data / "hf_weights" / "tiny_bert_safetensors"
    tf1 = shared_data / "tf_checkpoint" / "tiny"
    for path, expected in (
        (folder, folder),
        (tf1, tf1),
        (tf1 / "bert_model.ckpt", tf1),
        (tiny_workdir, tiny_workdir / "tokenizer"),
    ):
        assert tokenizer_folder(path) == expected


@pytest.mark.parametrize("class_name", CLASSES)
def test_impossible_ids_are_refused(class_name: str) -> None:
    ids = [[[2, 83]]] if class_name == "BertForMultipleChoice" else [[2, 83]]
    with pytest.raises(ValueError, match=r"^input_ids has 83; .*vocab_size=83; use t"):
        make_model(class_name)(ids)
    other = (1, 2) if class_name == "BertForMultipleChoice" else (1, 1, 2)
    for shape in ((2,), (1, 1, 1, 2), other):  # told as it was given, without padding
        said = rf"^input_ids has shape {re.escape(str(shape))}; it must be \("
        with pytest.raises(ValueError, match=said):
            make_model(class_name)(np.ones(shape, np.int32))


def test_a_model_inside_a_function_that_jax_transforms() -> None:
    model = make_model("BertForSequenceClassification")
    graphdef, state = nnx.split(model)
    expected = model(IDS, MASK).logits

    def logits(state: nnx.State, ids: Any) -> jax.Array:
        return nnx.merge(graphdef, state)(ids, MASK).logits

    np.testing.assert_allclose(jax.jit(logits)(state, IDS), expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda state: logits(state, IDS).sum())(state)
    np.testing.assert_allclose(gradient["classifier"]["bias"][...], [2.0, 2.0], rtol=1e-6)
