"""What the model promises apart from its numbers: invariances, ties, start, interface."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bert_jax.model import attention, encoder
from bert_jax.model.attention import plain_attention
from bert_jax.model.bert import BertModel
from bert_jax.model.dropout import dropout
from bert_jax.model.outputs import BertForPreTrainingOutput
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.random_bits import fold

IDS_BL = jax.random.randint(jax.random.key(0), (3, 12), 5, 83)


def sharpened(model: BertForPreTraining) -> BertForPreTraining:
    """The model with weights ten times as large, so that positions matter."""
    graphdef, state = nnx.split(model)
    return nnx.merge(graphdef, jax.tree.map(lambda x: 10 * x, state))


def test_padding_changes_nothing_for_the_tokens(small_model):
    model = sharpened(small_model)
    mask_BL = (jnp.arange(12) < 7).astype(jnp.int32) * jnp.ones((3, 1), jnp.int32)
    alone = model.bert(IDS_BL[:, :7]).last_hidden_state
    for filling in (0, 5, 82):
        ids_BL = IDS_BL.at[:, 7:].set(filling)
        padded = model.bert(ids_BL, mask_BL).last_hidden_state[:, :7]
        np.testing.assert_allclose(padded, alone, rtol=1e-5, atol=1e-5)
        unmasked = model.bert(ids_BL).last_hidden_state[:, :7]  # the control
        assert np.abs(unmasked - alone).max() > 1e-2


def test_a_row_does_not_depend_on_the_others(small_model):
    seeds_B = fold(0, jnp.arange(3))
    together = small_model(IDS_BL, dropout_seeds=seeds_B)
    alone = small_model(IDS_BL[1:2], dropout_seeds=seeds_B[1:2])
    np.testing.assert_allclose(
        together.prediction_logits[1:2], alone.prediction_logits, rtol=1e-5, atol=1e-6
    )


def test_masked_positions_choose_from_all_logits(small_model):
    positions_BP = jnp.array([[3, 0], [11, 5], [2, 2]])
    whole = small_model(IDS_BL)
    some = small_model(IDS_BL, masked_positions=positions_BP)
    assert some.prediction_logits.shape == (3, 2, 83)
    np.testing.assert_allclose(
        some.prediction_logits,
        jnp.take_along_axis(whole.prediction_logits, positions_BP[..., None], axis=1),
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        some.seq_relationship_logits, whole.seq_relationship_logits, rtol=1e-6, atol=1e-7
    )


def test_dropout_happens_exactly_when_seeds_are_given(small_model):
    seeds_B = fold(0, jnp.arange(3))
    dry, again = small_model.bert(IDS_BL), small_model.bert(IDS_BL)
    dropped = small_model.bert(IDS_BL, dropout_seeds=seeds_B, output_hidden_states=True)
    assert np.array_equal(dry.last_hidden_state, again.last_hidden_state)
    assert not np.allclose(dry.last_hidden_state, dropped.last_hidden_state, atol=1e-2)
    embedded = np.asarray(dropped.hidden_states[0])
    rate = small_model.config.hidden_dropout_prob
    assert abs((embedded == 0).mean() - rate) < 5 * np.sqrt(rate / embedded.size)


def test_no_two_places_draw_the_same_mask(small_model, monkeypatch):
    """Embeddings, and three places in each of the two layers, for each of three rows."""
    drawn = []

    def record(x, rate, seeds_B, site):
        drawn.extend(np.asarray(fold(seeds_B, site)).tolist())
        return dropout(x, rate, seeds_B, site)

    monkeypatch.setattr(encoder, "dropout", record)
    monkeypatch.setattr(attention, "dropout", record)
    with jax.disable_jit():  # so that the loop over layers runs as often as it says
        small_model.bert(IDS_BL, dropout_seeds=fold(0, jnp.arange(3)))
    assert len(drawn) == len(set(drawn)) == 3 * (1 + 2 * 3)


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_each_rate_drops_by_itself(field, small_config):
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = dataclasses.replace(small_config, **{**none, field: 0.5})
    model = BertModel(config, rngs=nnx.Rngs(0))
    seeds_B = fold(0, jnp.arange(3))
    dry = model(IDS_BL).last_hidden_state
    assert np.abs(model(IDS_BL, dropout_seeds=seeds_B).last_hidden_state - dry).max() > 1e-4
    still = BertModel(dataclasses.replace(config, **none), rngs=nnx.Rngs(0))
    assert np.array_equal(still(IDS_BL, dropout_seeds=seeds_B).last_hidden_state, dry)


def test_the_decoder_is_the_word_embedding(small_model):
    """Words that stand nowhere in the input are learnt through the head alone."""
    graphdef, state = nnx.split(small_model)

    def score(state):
        return (nnx.merge(graphdef, state)(IDS_BL).prediction_logits ** 2).sum()

    gradient = jax.jit(jax.grad(score))(state)["bert"]["embeddings"]["word"]["embedding"][
        ...
    ]
    absent = np.setdiff1d(np.arange(83), np.asarray(IDS_BL))
    assert np.abs(gradient[absent]).max(axis=1).min() > 0
    assert np.array_equal(gradient[83:], np.zeros((45, 24)))  # padding of the table

    def encode(state):
        return (nnx.merge(graphdef, state).bert(IDS_BL).last_hidden_state[..., 0]).sum()

    gradient = jax.jit(jax.grad(encode))(state)["bert"]["embeddings"]["word"]["embedding"][
        ...
    ]
    assert np.abs(gradient[np.asarray(IDS_BL)]).max(axis=-1).min() > 0
    assert np.abs(gradient[absent]).max() == 0


def test_initial_weights_are_those_of_2018(small_config):
    config = dataclasses.replace(small_config, hidden_size=128, intermediate_size=256)
    model = BertForPreTraining(config, rngs=nnx.Rngs(3))
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model)))
    for path, x in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("bias"):
            assert np.all(x == 0), name
        elif name.endswith("scale"):
            assert np.all(x == 1), name
        else:
            # 0.02 is the deviation before the cut at ±0.04, as TensorFlow's; after the
            # cut it is 0.8796 of that.
            assert np.abs(x).max() <= 0.04, name
            tolerance = 5 / np.sqrt(2 * x.size)
            assert abs(x.std() / 0.017593 - 1) < tolerance, (name, x.std())
            assert abs(x.mean()) < 5 * 0.0176 / np.sqrt(x.size), name
    stacked = model.bert.encoder.layers.feed_forward_in.kernel[...]
    assert not np.array_equal(stacked[0], stacked[1])


def test_the_given_attention_is_used(small_config):
    seen = []

    def spy(query_BLHK, *rest, **options):
        seen.append((query_BLHK.shape, rest[-1].tokens.shape, options["dropout_rate"]))
        return plain_attention(query_BLHK, *rest, **options)

    def blind(query_BLHK, *rest, **options):
        return jnp.zeros_like(query_BLHK)

    plain, spied, zero = (
        BertModel(small_config, rngs=nnx.Rngs(0), attention=callable_)(IDS_BL)
        for callable_ in (plain_attention, spy, blind)
    )
    assert seen and set(seen) == {((3, 12, 4, 6), (3, 12), 0.1)}
    assert np.array_equal(plain.last_hidden_state, spied.last_hidden_state)
    assert not np.allclose(plain.last_hidden_state, zero.last_hidden_state, atol=1e-4)


def test_constrain_is_applied_between_all_parts(small_config):
    seen = []

    def spy(x, dims):
        seen.append((dims, x.shape))
        return x

    model = BertForPreTraining(small_config, rngs=nnx.Rngs(0), constrain=spy, unroll=False)
    positions_BP = jnp.array([[1, 2, 3, 4, 5]] * 3)
    found = model(IDS_BL, masked_positions=positions_BP).prediction_logits
    assert set(seen) == {("BLD", (3, 12, 24)), ("BPD", (3, 5, 24)), ("BD", (3, 24))}
    plain = BertForPreTraining(small_config, rngs=nnx.Rngs(0), unroll=False)
    expected = plain(IDS_BL, masked_positions=positions_BP).prediction_logits
    assert np.array_equal(found, expected)


def test_outputs_are_pytrees(small_model):
    output = small_model(IDS_BL, output_hidden_states=True, output_attentions=True)
    assert [x.shape for x in output.hidden_states] == [(3, 12, 24)] * 3
    assert [x.shape for x in output.attentions] == [(3, 4, 12, 12)] * 2
    np.testing.assert_allclose(np.sum(output.attentions[1], -1), 1.0, rtol=1e-5)
    doubled = jax.tree.map(lambda x: 2 * x, output)
    assert isinstance(doubled, BertForPreTrainingOutput)
    assert len(jax.tree.leaves(doubled)) == 7
    assert len(jax.tree.leaves(small_model(IDS_BL))) == 2


def test_works_as_any_flax_module(small_model):
    expected = small_model(IDS_BL).prediction_logits
    graphdef, state = nnx.split(small_model)
    kinds = {type(variable) for _, variable in nnx.to_flat_state(state)}
    assert kinds == {nnx.Param}  # no random state
    merged = nnx.merge(graphdef, state)
    np.testing.assert_array_equal(merged(IDS_BL).prediction_logits, expected)
    compiled = nnx.jit(lambda m, x: m(x))(small_model, IDS_BL)
    np.testing.assert_allclose(compiled.prediction_logits, expected, rtol=1e-5, atol=1e-6)
    gradient = nnx.grad(lambda m: m(IDS_BL).prediction_logits.sum())(small_model)
    assert jax.tree.structure(nnx.to_pure_dict(gradient)) == jax.tree.structure(
        nnx.to_pure_dict(state)
    )


def test_defaults_are_all_tokens_of_the_first_segment_in_order(small_model):
    explicit = small_model(
        np.asarray(IDS_BL),
        np.ones((3, 12), bool),
        np.zeros((3, 12), np.int32),
        np.tile(np.arange(12), (3, 1)),
    )
    np.testing.assert_array_equal(
        small_model(IDS_BL).prediction_logits, explicit.prediction_logits
    )


def test_too_long_rows_are_refused(small_model):
    assert small_model.bert(jnp.zeros((1, 20), int)).last_hidden_state.shape == (1, 20, 24)
    with pytest.raises(ValueError, match=r"21 tokens.*max_position_embeddings=20"):
        small_model(jnp.zeros((1, 21), int))


def test_a_row_without_any_token_gives_finite_numbers(small_model):
    graphdef, state = nnx.split(small_model)
    mask_BL = jnp.zeros((3, 12), int).at[1:].set(1)

    def score(state):
        return nnx.merge(graphdef, state)(IDS_BL, mask_BL).prediction_logits.sum()

    value, gradient = jax.jit(jax.value_and_grad(score))(state)
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_parameters_are_float32_in_bfloat16_too(small_config):
    model = BertForPreTraining(small_config, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert {x.dtype for x in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("float32")}


def test_scores_of_words_are_not_rounded_to_bfloat16(small_config):
    """Products of bfloat16 numbers, added up and kept in float32, against float64."""
    model = sharpened(
        BertForPreTraining(small_config, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    )
    head, seen = model.masked_lm, []
    head.bias[...] = jax.random.normal(jax.random.key(1), head.bias.shape)
    head.constrain = lambda hidden_BPD, dims: seen.append(hidden_BPD) or hidden_BPD
    found = model(IDS_BL).prediction_logits
    assert found.dtype == jnp.float32
    (before_norm_BPD,) = seen
    hidden_BPD = head.norm(before_norm_BPD)
    assert hidden_BPD.dtype == jnp.bfloat16
    word_VD = model.bert.embeddings.word.embedding[...].astype(jnp.bfloat16)
    hidden_BPD, word_VD = (np.asarray(x, np.float64) for x in (hidden_BPD, word_VD))
    products_BPV = (hidden_BPD @ word_VD.T)[..., : small_config.vocab_size]
    bias_V = np.asarray(head.bias, np.float64)[: small_config.vocab_size]
    # 24 terms of size 1: the last bit of float32 is 6e-8 of them, that of bfloat16 4e-3.
    tolerance = 1e-5 * np.abs(products_BPV).max()
    assert np.abs(found - (products_BPV + bias_V)).max() < tolerance
    # Negative control: rounded before the bias is added, they would be seen.
    rounded_BPV = np.asarray(jnp.asarray(products_BPV, jnp.bfloat16), np.float64)
    assert np.abs(rounded_BPV - products_BPV).max() > 50 * tolerance
