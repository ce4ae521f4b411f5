"""The classes with heads: shapes, losses against their definitions, dropout, refusals."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.model import answers, heads
from bert_jax.model.losses import span_loss, text_loss
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.random_bits import fold

TINY = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=12,
    num_labels=3,
)
IDS_BL = np.random.default_rng(0).integers(1, 50, (4, 8))
MASK_BL = np.arange(8) < np.array([8, 5, 8, 3])[:, None]


@functools.cache
def build(cls: Any, **fields: Any) -> Any:
    """The network with weights under which nothing is near zero."""
    config = dataclasses.replace(TINY, **fields)
    abstract = nnx.eval_shape(lambda: cls(config, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(abstract)
    rng = np.random.default_rng(3)
    return nnx.merge(
        graphdef,
        jax.tree.map(
            lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), x.dtype), state
        ),
    )


def paths(cls: Any, **fields: Any) -> set[str]:
    """Names of the heads and of the pooler."""
    config = dataclasses.replace(TINY, **fields)
    network = nnx.eval_shape(lambda: cls(config, rngs=nnx.Rngs(0)))
    tree = nnx.to_pure_dict(nnx.state(network))
    return (set(tree) - {"bert"}) | (set(tree["bert"]) - {"embeddings", "encoder"})


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_each_class_has_its_head_and_the_pooler_only_where_it_is_used():
    expected = {
        heads.BertForMaskedLM: {"masked_lm"},
        heads.BertForNextSentencePrediction: {"next_sentence", "pooler"},
        heads.BertForSequenceClassification: {"classifier", "pooler"},
        heads.BertForTokenClassification: {"classifier"},
        answers.BertForMultipleChoice: {"classifier", "pooler"},
        BertForPreTraining: {"masked_lm", "next_sentence", "pooler"},
    }
    for cls, names in expected.items():
        assert paths(cls) == names
    assert paths(answers.BertForQuestionAnswering, num_labels=2) == {"qa_outputs"}


def test_words():
    model = build(heads.BertForMaskedLM)
    labels = np.where(MASK_BL & (IDS_BL % 3 == 0), IDS_BL, -100)
    output = model(IDS_BL, MASK_BL, labels=labels, output_hidden_states=True)
    assert output.logits.shape == (4, 8, 50) and output.logits.dtype == jnp.float32
    assert len(output.hidden_states) == 2 and output.attentions is None
    rows, columns = np.nonzero(labels >= 0)
    expected = -log_softmax(np.asarray(output.logits, np.float64))[
        rows, columns, labels[rows, columns]
    ].mean()
    np.testing.assert_allclose(output.loss, expected, rtol=1e-5)
    positions = jnp.array([[0, 3]] * 4)
    some = model(IDS_BL, MASK_BL, masked_positions=positions).logits
    np.testing.assert_allclose(some, output.logits[:, [0, 3]], rtol=1e-5, atol=1e-6)


def test_nothing_to_predict_is_no_loss():
    model = build(heads.BertForMaskedLM)
    assert model(IDS_BL, labels=np.full((4, 8), -100)).loss == 0.0
    assert model(IDS_BL).loss is None


def test_sentences_and_both_losses_of_pretraining():
    labels, sentences = np.where(MASK_BL, IDS_BL, -100), np.array([0, 1, 1, -100])
    model = build(BertForPreTraining)
    both = model(IDS_BL, MASK_BL, labels=labels, next_sentence_label=sentences)
    logits = np.asarray(both.seq_relationship_logits, np.float64)
    second = -log_softmax(logits)[[0, 1, 2], sentences[:3]].mean()
    all_words = -log_softmax(np.asarray(both.prediction_logits, np.float64))
    first = np.take_along_axis(all_words, IDS_BL[..., None], -1)[..., 0][MASK_BL].mean()
    np.testing.assert_allclose(both.loss, first + second, rtol=1e-5)
    assert model(IDS_BL, MASK_BL, labels=labels).loss is None  # both, or none


@pytest.mark.parametrize(
    ("num_labels", "problem_type", "labels"),
    [
        (3, None, [2, 0, -100, 1]),
        (3, "single_label_classification", [[2], [0], [1], [1]]),
        (3, None, [[0.0, 1.0, 1.0]] * 4),
        (3, "multi_label_classification", [[0, 1, 1]] * 4),
        (3, "regression", [[0.5, -1.0, 2.0]] * 4),
        (1, None, [0.5, -1.0, 2.0, 0.0]),
        (1, None, [1, 2, 3, 4]),
        (1, "regression", [[0.5], [-1.0], [2.0], [0.0]]),
    ],
)
def test_texts(num_labels, problem_type, labels):
    model = build(
        heads.BertForSequenceClassification,
        num_labels=num_labels,
        problem_type=problem_type,
    )
    output = model(IDS_BL, MASK_BL, labels=np.array(labels))
    logits = np.asarray(output.logits, np.float64)
    assert logits.shape == (4, num_labels)
    targets = np.array(labels, np.float64).reshape(4, -1)
    if num_labels == 1 or problem_type == "regression":
        expected = ((logits - targets) ** 2).mean()
    elif targets.shape == (4, 3):
        p = 1 / (1 + np.exp(-logits))
        expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    else:
        classes = targets[:, 0].astype(int)
        counted = classes >= 0
        expected = -log_softmax(logits)[counted, classes[counted]].mean()
    np.testing.assert_allclose(output.loss, expected, rtol=1e-5)


def test_tokens():
    model = build(heads.BertForTokenClassification)
    labels = np.where(MASK_BL, IDS_BL % 3, -100)
    output = model(IDS_BL, MASK_BL, labels=labels)
    assert output.logits.shape == (4, 8, 3)
    chosen = np.take_along_axis(
        log_softmax(np.asarray(output.logits, np.float64)), IDS_BL[..., None] % 3, -1
    )
    np.testing.assert_allclose(output.loss, -chosen[..., 0][MASK_BL].mean(), rtol=1e-5)


def test_answers():
    model = build(answers.BertForQuestionAnswering, num_labels=2)
    starts, ends = np.array([0, 7, 8, -3]), np.array([[1], [100], [2], [3]])
    output = model(IDS_BL, MASK_BL, start_positions=starts, end_positions=ends)
    assert output.start_logits.shape == output.end_logits.shape == (4, 8)
    start = -log_softmax(np.asarray(output.start_logits, np.float64))
    end = -log_softmax(np.asarray(output.end_logits, np.float64))
    # Beyond the row does not count; below 0 is taken for 0.
    expected = start[[0, 1, 3], [0, 7, 0]].mean() + end[[0, 2, 3], [1, 2, 3]].mean()
    np.testing.assert_allclose(output.loss, expected / 2, rtol=1e-5)
    assert model(IDS_BL, start_positions=starts).loss is None
    assert span_loss(output.start_logits, output.end_logits, [8] * 4, [9] * 4) == 0.0
    with pytest.raises(ValueError, match=r"^num_labels=3 must be 2 to answer"):
        build(answers.BertForQuestionAnswering)


def test_choices_are_rows_by_themselves():
    model = build(answers.BertForMultipleChoice)
    ids_BCL, mask_BCL = IDS_BL.reshape(2, 2, 8), MASK_BL.reshape(2, 2, 8)
    output = model(ids_BCL, mask_BCL, labels=np.array([1, 0]))
    pooled = model.bert(IDS_BL, MASK_BL).pooler_output
    logits = np.asarray(model.classifier(pooled), np.float64).reshape(2, 2)
    np.testing.assert_allclose(output.logits, logits, rtol=1e-4, atol=1e-6)
    expected = -log_softmax(logits)[[0, 1], [1, 0]].mean()
    np.testing.assert_allclose(output.loss, expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"shape \(4, 8\); it must be \(questions, choi"):
        model(IDS_BL)


def test_a_classifier_drops_at_its_own_rate_and_only_with_seeds():
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    seeds_B = fold(0, jnp.arange(4))
    for cls, ids in (
        (heads.BertForSequenceClassification, IDS_BL),
        (heads.BertForTokenClassification, IDS_BL),
        (answers.BertForMultipleChoice, np.stack([IDS_BL] * 2, 1)),
    ):
        model = build(cls, **none, classifier_dropout=0.5)
        dry, wet = model(ids).logits, model(ids, dropout_seeds=seeds_B).logits
        assert np.abs(dry - wet).max() > 1e-3
        if cls is answers.BertForMultipleChoice:  # equal choices draw masks of their own
            assert np.abs(wet[:, 0] - wet[:, 1]).max() > 1e-3
        same = build(cls, **none)
        assert np.array_equal(same(ids).logits, same(ids, dropout_seeds=seeds_B).logits)
    inherited = build(
        heads.BertForSequenceClassification, **none | {"hidden_dropout_prob": 0.5}
    )
    assert inherited.config.classifier_dropout is None
    pooled = jnp.ones((4, 16))
    assert (np.asarray(inherited.dropped(pooled, seeds_B)) == 0).any()


def test_outputs_are_pytrees_and_bfloat16_gives_float32_logits():
    model = heads.BertForSequenceClassification(TINY, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    output = model(IDS_BL, labels=np.zeros(4, int), output_attentions=True)
    assert output.logits.dtype == jnp.float32
    assert len(jax.tree.leaves(output)) == 3


def test_the_pooler_may_be_left_out():
    whole = build(BertForPreTraining).bert(IDS_BL)
    assert whole.pooler_output.shape == (4, 16)
    output = build(heads.BertForMaskedLM).bert(IDS_BL)
    assert output.pooler_output is None
    assert output.last_hidden_state.shape == whole.last_hidden_state.shape


def test_the_padding_is_not_learnt_from_its_own_places():
    """As in Transformers; QA scores padded places too, so it would be."""
    model = build(answers.BertForQuestionAnswering, num_labels=2)
    graphdef, state = nnx.split(model)
    ids = jnp.where(MASK_BL, IDS_BL, 0)

    @jax.jit
    def gradient(state):
        def loss(state):
            output = nnx.merge(graphdef, state)(ids, MASK_BL)
            return span_loss(output.start_logits, output.end_logits, [1] * 4, [2] * 4)

        return jax.grad(loss)(state)

    table = gradient(state)["bert"]["embeddings"]["word"]["embedding"][...]
    assert np.all(table[0] == 0)
    assert np.abs(table[IDS_BL[0]]).max() > 0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": [[3, 50]]}, "input_ids has 50; .* below vocab_size=50; use the to"),
        ({"input_ids": np.array([[-1, 2]])}, "input_ids has -1; it must be at least 0"),
        (
            {"input_ids": [[3, 4]], "token_type_ids": np.array([[0, 2]])},
            "token_type_ids has 2; it must be at least 0 and below type_vocab_size=2;",
        ),
        (
            {"input_ids": [[3, 4]], "position_ids": [[0, 12]]},
            "position_ids has 12; .* below max_position_embeddings=12; truncate",
        ),
        ({"input_ids": [3, 4]}, r"input_ids has shape \(2,\); it must be \(rows, tokens\)"),
        ({"input_ids": [[3, 4]], "labels": [[3, 50]]}, "labels has 50; it must be at lea"),
        ({"input_ids": [[3, 4]], "labels": [[-1, 3]]}, "labels has -1; .* or -100 for wh"),
        ({"input_ids": [[3, 4]], "labels": [[3]]}, r"labels have shape \(1, 1\); it must"),
    ],
)
def test_impossible_values_on_the_host_are_refused(inputs, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        build(heads.BertForMaskedLM)(**inputs)
    assert len(str(error.value).splitlines()) == 1


def test_values_on_a_device_are_left_alone():
    model = build(heads.BertForMaskedLM)
    assert model(jnp.array([[3, 50]])).logits.shape == (1, 2, 50)
    jax.jit(lambda ids: model(ids).logits)(jnp.array([[3, 50]]))


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"^labels have shape \(2,\); it must be \(2, 3\)"):
        text_loss(jnp.zeros((2, 3)), [0.5, 1.0], None)
