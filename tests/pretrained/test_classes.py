"""`from_pretrained` on the workdir of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import bert_jax
from bert_jax.formats.orbax import load_params
from bert_jax.pretrained.classes import BertForPreTraining, BertModel

IDS = np.array([[2, 9, 17, 4, 30, 3], [2, 40, 3, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def test_public_names_are_these_classes() -> None:
    assert bert_jax.BertModel is BertModel
    assert bert_jax.BertForPreTraining is BertForPreTraining


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
    np.testing.assert_array_equal(output.hidden_states[-1], encoded.last_hidden_state)
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
    with pytest.raises(ValueError, match=r"^parameter \S+ has shape \(.*\); the mod"):
        BertModel.from_pretrained(tiny_workdir, **override)


def test_an_unknown_override_is_refused(tiny_workdir: Path) -> None:
    with pytest.raises((TypeError, ValueError), match="hiden_size"):
        BertModel.from_pretrained(tiny_workdir, hiden_size=64)


def test_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no checkpoint; train first$"):
        BertModel.from_pretrained(tmp_path / "nothing")


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
    with pytest.raises(ValueError, match=r"^parameter bert/encoder/layers/\S+ has shape"):
        BertForPreTraining.from_pretrained(copy)
