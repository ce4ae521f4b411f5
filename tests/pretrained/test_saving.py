"""Saving a model: what is written, and that it is proved before it takes its place."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pretrained.small_models import CLASSES, assert_equal_params, make_model

from bert_jax.config_sections import MeshConfig
from bert_jax.formats.hashes import check_hashes
from bert_jax.formats.safetensors_files import read_safetensors
from bert_jax.parallel.mesh import make_mesh
from bert_jax.pretrained.classes import BertForMaskedLM, BertModel
from bert_jax.pretrained.saving import state_dict
from bert_jax.pretrained.sources import architecture_of
from bert_jax.text.bert_tokenizer import BertTokenizer


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_class_comes_back_as_it_was_saved(class_name: str, tmp_path: Path) -> None:
    fields = {} if class_name == "BertForQuestionAnswering" else {"num_labels": 3}
    model = make_model(class_name, **fields)
    model.save_pretrained(tmp_path / "new" / "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = type(model).from_pretrained(tmp_path / "new" / "folder", strict_head=True)
    assert back.config == model.config
    assert_equal_params(back, model)
    assert architecture_of(tmp_path / "new" / "folder") == class_name
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "config.json",
        "model.safetensors",
        "probe.safetensors",
    ]
    assert check_hashes(tmp_path / "new" / "folder")


def test_saving_over_an_export(tiny_workdir: Path, tmp_path: Path) -> None:
    """The new weights, their hashes and their probe; the user's own files stay."""
    tokenizer = BertTokenizer.from_pretrained(tiny_workdir)
    first = BertModel.from_pretrained(tiny_workdir)
    first.save_pretrained(tmp_path, tokenizer)
    assert check_hashes(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    scale = first.embeddings.norm.scale
    scale[...] = scale[...] * 2
    first.save_pretrained(tmp_path)
    assert_equal_params(BertModel.from_pretrained(tmp_path), first)
    BertTokenizer.from_pretrained(tmp_path, model_max_length=9).save_pretrained(tmp_path)
    assert BertTokenizer.from_pretrained(tmp_path).model_max_length == 9
    assert check_hashes(tmp_path)
    probe = read_safetensors(tmp_path / "probe.safetensors")
    inputs = {n: np.array(probe[n]) for n in probe if not n.startswith("output.")}
    found = first(**inputs).last_hidden_state
    np.testing.assert_allclose(found, probe["output.last_hidden_state"], atol=1e-6)
    for name in ("README.md", "notes.txt"):
        assert (tmp_path / name).read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_loads_otherwise_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = make_model("BertModel"), make_model("BertModel", seed=1)
    model.save_pretrained(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(
        BertModel, "from_pretrained", classmethod(lambda cls, path, **_: other)
    )
    with pytest.raises(RuntimeError, match=r"reloaded, .* differs by"):
        model.save_pretrained(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_model_without_finite_answers_is_not_saved(tmp_path: Path) -> None:
    model = make_model("BertModel")
    model.pooler.bias[...] = model.pooler.bias[...].at[3].set(jnp.nan)
    with pytest.raises(RuntimeError, match="pooler_output of this model is not finite"):
        model.save_pretrained(tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["bfloat16", "mesh"])
def test_models_of_other_numbers_and_places_are_saved(where: str, tmp_path: Path) -> None:
    model = make_model("BertForMaskedLM")
    model.save_pretrained(tmp_path / "a")
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    options: dict[str, Any] = {
        "bfloat16": {"dtype": jnp.bfloat16},
        "mesh": {"mesh": mesh},
    }[where]
    other = BertForMaskedLM.from_pretrained(tmp_path / "a", **options)
    other.save_pretrained(tmp_path / "b")
    assert_equal_params(BertForMaskedLM.from_pretrained(tmp_path / "b"), model)


def test_saved_files_are_as_readable_as_any(tmp_path: Path) -> None:
    make_model("BertModel").save_pretrained(tmp_path)
    (tmp_path / "any").touch()
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert set(modes.values()) == {modes["any"]}


def test_what_is_saved_has_no_padding_and_nothing_twice(tmp_path: Path) -> None:
    model = make_model("BertForPreTraining")
    arrays = state_dict(model)
    assert arrays["bert.embeddings.word_embeddings.weight"].shape == (83, 24)
    assert arrays["cls.predictions.bias"].shape == (83,)
    assert not any("decoder" in name for name in arrays)
    assert all(x.dtype == np.float32 and x.flags.c_contiguous for x in arrays.values())
    assert {name.partition(".")[0] for name in state_dict(make_model("BertModel"))} == {
        "embeddings",
        "encoder",
        "pooler",
    }
    model.save_pretrained(tmp_path)
    file = read_safetensors(tmp_path / "model.safetensors")
    assert file.metadata == {"format": "pt", "bert_jax_format_version": "1"}
