"""Spellings of weights, as they are found in the wild, against independent tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden import cases
from golden.hugging_face_names import params_from_hugging_face
from pretrained.small_models import (
    assert_equal_params,
    flat_params,
    make_arrays,
    make_model,
    write_folder,
)

from bert_jax import BertForMaskedLM, BertForPreTraining, BertModel
from bert_jax.formats.tf1_checkpoint import list_tf1_variables
from bert_jax.pretrained.config_files import read_tf1_config
from bert_jax.pretrained.hugging_face_names import HUGGING_FACE
from bert_jax.pretrained.tf1_names import TF1, is_weight
from bert_jax.pretrained.trees import flat_arrays
from bert_jax.pretrained.weight_layout import read_block


def test_the_parameters_are_those_of_the_other_table_of_names():
    """tests/golden has a table of its own, with which the outputs were compared."""
    with np.load(cases.MODEL_FILE) as file:
        weights = {
            key.removeprefix("weights/"): file[key].astype(np.float32)
            for key in file
            if key.startswith("weights/")
        }
    expected = flat_arrays(params_from_hugging_face(weights, cases.CONFIG))
    shapes = {path: array.shape for path, array in expected.items()}
    pieces = HUGGING_FACE.pieces(shapes, cases.CONFIG)
    assert {piece.name for piece in pieces} == weights.keys()
    for path, array in expected.items():
        mine = [piece for piece in pieces if piece.path == path]
        whole = tuple(slice(0, size) for size in array.shape)
        found = read_block(array.shape, whole, mine, weights)
        np.testing.assert_array_equal(found, array, err_msg=path)


def renamed(arrays, encoder, rest):
    """With other prefixes, for the encoder's names and for those of the heads."""
    return {
        f"{encoder}{name.removeprefix('bert.')}"
        if name.startswith("bert.")
        else f"{rest}{name}": array
        for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    ("encoder", "rest"),
    [
        ("bert.", ""),
        ("", ""),
        ("module.bert.", "module."),
        ("module.", ""),
        ("0.auto_model.", "0."),
        ("model.bert.", "model."),
        ("model.", "model."),
        ("_orig_mod.bert.", "_orig_mod."),
        ("bert_model.", ""),
    ],
)
def test_prefixes(encoder, rest, tmp_path: Path):
    arrays = renamed(make_arrays("BertForPreTraining"), encoder, rest)
    model, report = BertForPreTraining.load(write_folder(tmp_path, arrays))
    assert_equal_params(model, make_model("BertForPreTraining"))
    assert not (report.missing or report.mis_shaped or report.unexpected)
    assert not report.other_heads


def test_old_names_of_norms_and_buffers_and_a_tied_decoder(tmp_path: Path):
    arrays = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in make_arrays("BertForPreTraining").items()
    }
    assert sum("gamma" in name for name in arrays) == 6
    arrays["bert.embeddings.position_ids"] = np.arange(20)[None]
    arrays["cls.predictions.decoder.weight"] = arrays[
        "bert.embeddings.word_embeddings.weight"
    ].copy()
    arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"].copy()
    model, report = BertForPreTraining.load(write_folder(tmp_path, arrays))
    assert_equal_params(model, make_model("BertForPreTraining"))
    assert not report.unexpected


def test_a_decoder_in_place_of_what_it_is_tied_to(tmp_path: Path):
    arrays = make_arrays("BertForMaskedLM")
    for ours, other in (
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        ("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ):
        arrays[other] = arrays.pop(ours)
    model = BertForMaskedLM.from_pretrained(write_folder(tmp_path, arrays))
    assert_equal_params(model, make_model("BertForMaskedLM"))


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_decoder_of_its_own_is_refused_where_it_would_be_used(name, tmp_path: Path):
    arrays = make_arrays("BertForPreTraining")
    source = {"weight": "bert.embeddings.word_embeddings.weight"}
    source["bias"] = "cls.predictions.bias"
    arrays[f"cls.predictions.decoder.{name}"] = arrays[source[name]] + 1
    folder = write_folder(tmp_path, arrays)
    with pytest.raises(ValueError, match=rf"^cls.predictions.decoder.{name} must be equal"):
        BertForMaskedLM.from_pretrained(folder)
    assert_equal_params(
        BertModel.from_pretrained(folder), make_model("BertForPreTraining").bert
    )


def test_the_same_weight_twice_is_refused(tmp_path: Path):
    arrays = make_arrays("BertForPreTraining")
    arrays["bert.embeddings.LayerNorm.gamma"] = np.ones(24, np.float32)
    with pytest.raises(ValueError, match="are one weight under two names; keep one"):
        BertModel.from_pretrained(write_folder(tmp_path, arrays))


def test_two_encoders_or_none_are_refused(tmp_path: Path):
    arrays = make_arrays("BertForPreTraining")
    twice = {**arrays, **renamed(arrays, "teacher.bert.", "teacher.")}
    with pytest.raises(ValueError, match=r"must have one .*; they have 'bert\..*, 'tea"):
        BertModel.from_pretrained(write_folder(tmp_path / "a", twice))
    other = {"transformer.wte.weight": np.ones((2, 2), np.float32)}
    with pytest.raises(ValueError, match=r"must have one .*; they have none$"):
        BertModel.from_pretrained(write_folder(tmp_path / "b", other))


def test_names_and_shapes_of_a_published_checkpoint_of_2018(shared_data: Path):
    folder = shared_data / "tf_checkpoint" / "bert_base_chinese_index_only"
    variables = list_tf1_variables(folder / "bert_model.ckpt")
    expected = json.loads((folder / "expected_variables.json").read_text())
    assert len(variables) == len(expected) == 206
    config = read_tf1_config(folder / "bert_config.json")
    assert (config.vocab_size, config.hidden_act) == (21128, "gelu_tanh")
    small = flat_params(make_model("BertForPreTraining"))
    sizes = {83: 21128, 128: config.padded_vocab_size, 24: 768, 40: 3072, 20: 512}
    sizes |= {4: 12, 6: 64}
    shapes = {
        path: tuple(
            12 if "layers" in path and dim == 0 else sizes[n] if n in sizes else n
            for dim, n in enumerate(array.shape)
        )
        for path, array in small.items()
    }
    wanted = {piece.name: piece.file_shape for piece in TF1.pieces(shapes, config)}
    weights = [name for name in variables if is_weight(name, variables)]
    assert wanted == {name: variables[name][1] for name in weights}


def test_what_an_optimizer_keeps_is_no_weight(shared_data: Path):
    prefix = shared_data / "tf_checkpoint" / "tiny" / "bert_model.ckpt"
    variables = list_tf1_variables(prefix)
    weights = [name for name in variables if is_weight(name, variables)]
    assert len(variables) == 139 and "global_step" in variables
    assert len(weights) == 46
    assert not any("adam" in name for name in weights)
