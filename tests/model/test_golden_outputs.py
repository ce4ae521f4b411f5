"""Every output of the model against Transformers, by golden arrays.

The weights are such that nothing cancels (see golden/torch_peer.py:random_state); the
rows are padded, have segments, and positions in an order of their own.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden import cases
from golden.hugging_face_names import params_from_hugging_face

from bert_jax.model.bert import BertModel
from bert_jax.model.pretraining import BertForPreTraining


@pytest.fixture(scope="module")
def golden():
    with np.load(cases.MODEL_FILE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def params(golden):
    weights = {
        key.removeprefix("weights/"): x
        for key, x in golden.items()
        if key[:8] == "weights/"
    }
    tree = params_from_hugging_face(weights, cases.CONFIG)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def outputs(params, activation="gelu", dtype=jnp.float32, unroll=True, **changed):
    """All outputs for the golden inputs, of which some may be changed."""
    config = dataclasses.replace(cases.CONFIG, hidden_act=activation)
    graphdef, _ = nnx.split(
        nnx.eval_shape(
            lambda: BertForPreTraining(config, dtype=dtype, rngs=nnx.Rngs(0), unroll=unroll)
        )
    )

    @jax.jit
    def run(params, inputs):
        model = nnx.merge(graphdef, params)
        both = model(**inputs, output_hidden_states=True, output_attentions=True)
        return {
            "prediction_logits": both.prediction_logits,
            "seq_relationship_logits": both.seq_relationship_logits,
            "pooler_output": model.bert(**inputs).pooler_output,
            "hidden_states": jnp.stack(both.hidden_states),
            "attentions": jnp.stack(both.attentions),
        }

    return run(params, {**cases.model_inputs(), **changed})


NAMES = (
    "prediction_logits",
    "seq_relationship_logits",
    "pooler_output",
    "hidden_states",
    "attentions",
)


@pytest.fixture(scope="module")
def float32(params):
    return {activation: outputs(params, activation) for activation in ("gelu", "gelu_tanh")}


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("name", NAMES)
def test_equals_transformers(name, activation, float32, golden):
    assert float32[activation][name].dtype == jnp.float32
    np.testing.assert_allclose(
        float32[activation][name], golden[f"{activation}/{name}"], rtol=1e-5, atol=1e-5
    )


def test_the_golden_outputs_tell_the_activations_apart(golden):
    difference = golden["gelu/prediction_logits"] - golden["gelu_tanh/prediction_logits"]
    assert np.abs(difference).max() > 1e-4


@pytest.mark.parametrize("name", ["token_type_ids", "position_ids", "attention_mask"])
def test_the_golden_outputs_depend_on_every_input(name, params, golden):
    changed = np.ones_like(cases.model_inputs()[name])
    found = outputs(params, **{name: changed})["prediction_logits"]
    assert np.abs(found - golden["gelu/prediction_logits"]).max() > 0.1


def test_scan_equals_unroll(params, float32):
    """To float32 rounding: the compiler fuses, and so adds up, in another order."""
    for name, x in outputs(params, unroll=False).items():
        np.testing.assert_allclose(x, float32["gelu"][name], rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near(params, golden):
    """bfloat16 has 8 bits: 2⁻⁹ a rounding, some 10 of them a layer, on values of size 1."""
    found = outputs(params, dtype=jnp.bfloat16)
    hidden = np.asarray(found["hidden_states"], np.float32)
    assert found["hidden_states"].dtype == jnp.bfloat16
    assert found["prediction_logits"].dtype == jnp.float32
    error = np.abs(hidden - golden["gelu/hidden_states"])
    assert np.sqrt((error**2).mean()) < 0.02 * np.sqrt((hidden**2).mean())
    assert error.max() < 0.15
    logits = np.abs(found["prediction_logits"] - golden["gelu/prediction_logits"])
    assert 1e-4 < logits.max() < 0.15  # the lower bound: it did compute in bfloat16


def test_bert_model_is_the_encoder_of_the_pretraining_model(params, golden):
    graphdef, _ = nnx.split(
        nnx.eval_shape(lambda: BertModel(cases.CONFIG, rngs=nnx.Rngs(0)))
    )
    found = nnx.merge(graphdef, params["bert"])(**cases.model_inputs())
    expected = golden["gelu/hidden_states"][-1]
    np.testing.assert_allclose(found.last_hidden_state, expected, rtol=1e-5, atol=1e-5)
    assert found.hidden_states is None and found.attentions is None


def test_number_of_parameters_is_that_of_the_published_sizes(golden):
    published = {"base": 110_106_428, "large": 336_226_108}
    for size, count in published.items():
        assert golden[f"num_parameters/{size}"] == count
        config = cases.BertConfig.named(size)
        model = nnx.eval_shape(lambda c=config: BertForPreTraining(c, rngs=nnx.Rngs(0)))
        ours = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
        padding = config.padded_vocab_size - config.vocab_size
        assert padding == 70
        # A row of the table and a bias for each padding entry.
        assert ours - padding * (config.hidden_size + 1) == count
