"""Several sequences in one row: each is computed as if it were alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bert_jax.batch import PretrainingBatch
from bert_jax.bert_config import BertConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.objective.losses import Terms
from bert_jax.objective.masking import Masking, slots_per_row
from bert_jax.objective.pretraining import make_pretraining_loss

CONFIG = BertConfig(
    vocab_size=83,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=24,
    initializer_range=0.2,  # sharp attention: who sees too much would show it
)
LENGTH = 24
LENGTHS = (9, 5, 7, 12, 11, 24)
# Which of the sequences stand in which row.
PACKED, ALONE = ((0, 1, 2), (3, 4), (5,)), tuple((i,) for i in range(len(LENGTHS)))


@pytest.fixture(scope="module")
def model() -> BertForPreTraining:
    return BertForPreTraining(CONFIG, rngs=nnx.Rngs(0))


def batch_of(rows: tuple[tuple[int, ...], ...]) -> PretrainingBatch:
    """The sequences in these rows; each has its own ids, segments and label."""
    per_row = max(map(len, rows))
    tables = {
        name: np.zeros((len(rows), LENGTH), np.int32)
        for name in ("ids", "types", "of", "at")
    }
    starts = np.zeros((len(rows), per_row), np.int32)
    labels = np.full((len(rows), per_row), -1, np.int32)
    examples = np.zeros((len(rows), per_row), np.uint32)
    for row, sequences in enumerate(rows):
        column = 0
        for slot, sequence in enumerate(sequences):
            size = LENGTHS[sequence]
            place = slice(column, column + size)
            rng = np.random.default_rng(sequence)
            tables["ids"][row, place] = [2, *rng.integers(5, 83, size - 2), 3]
            tables["types"][row, place] = np.arange(size) > size // 2
            tables["of"][row, place] = slot + 1
            tables["at"][row, place] = np.arange(size)
            starts[row, slot], labels[row, slot] = column, sequence % 2
            examples[row, slot] = 100 + sequence
            column += size
    return PretrainingBatch(
        *tables.values(),
        word_starts=tables["of"] > 0,
        sequence_starts=starts,
        sentence_labels=labels,
        example_ids=examples,
        sources=np.zeros(len(rows), np.uint32),
        epochs=np.zeros(len(rows), np.uint32),
        mask_stages=np.zeros(len(rows), np.int32),
    )


def encode(model: BertForPreTraining, batch: PretrainingBatch, is_told: bool = True):
    return model(
        batch.input_ids,
        batch.sequence_ids > 0,
        batch.token_type_ids,
        batch.position_ids,
        sequence_ids=batch.sequence_ids if is_told else None,
        sequence_starts=batch.sequence_starts,
        output_hidden_states=True,
    )


def test_hidden_states_and_scores_are_those_of_each_sequence_alone(model):
    packed, alone = batch_of(PACKED), batch_of(ALONE)
    expected = encode(model, alone)
    found, blind = encode(model, packed), encode(model, packed, is_told=False)

    def worst(output) -> float:
        gap = 0.0
        for row, sequences in enumerate(PACKED):
            for slot, sequence in enumerate(sequences):
                inside = packed.sequence_ids[row] == slot + 1
                size = LENGTHS[sequence]
                pairs = [
                    (states[row][inside], other[sequence, :size])
                    for states, other in zip(
                        (*output.hidden_states, output.prediction_logits),
                        (*expected.hidden_states, expected.prediction_logits),
                        strict=True,
                    )
                ]
                scores = output.seq_relationship_logits[row, slot]
                pairs.append((scores, expected.seq_relationship_logits[sequence, 0]))
                gap = max(gap, *(float(jnp.abs(a - b).max()) for a, b in pairs))
        return gap

    assert worst(found) < 1e-5
    # Negative control: rows whose tokens all see each other.
    assert worst(blind) > 1e-2


def losses_of(model, rows, kind: str) -> tuple[Terms, jax.Array]:
    """Sums and weights, and the gradient of their total."""
    masking = Masking(
        kind=kind,
        mask_rates=(0.3,),
        max_predictions=4,
        num_predictions=slots_per_row(LENGTH, max(map(len, rows)), 4, (0.3,)),
        mask_id=4,
        special_ids=(0, 1, 2, 3, 4),
        vocab_size=83,
    )
    graphdef, params = nnx.split(model)
    batch = batch_of(rows)

    def total(params):
        losses, others = make_pretraining_loss(masking, seed=3, sentence_task="nsp")(
            nnx.merge(graphdef, params), batch, None
        )
        return sum(term for term, _ in losses.values()), {**losses, **others}

    (_, terms), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    flat = jnp.concatenate([g.ravel() for g in jax.tree.leaves(grads)])
    return terms, flat


@pytest.mark.parametrize("kind", ["token", "span"])
def test_packing_changes_neither_the_loss_nor_its_gradient(model, kind):
    packed, packed_grads = losses_of(model, PACKED, kind)
    alone, alone_grads = losses_of(model, ALONE, kind)
    assert packed.keys() == alone.keys()
    for name in packed:
        np.testing.assert_allclose(packed[name], alone[name], rtol=1e-5)
    scale = float(jnp.abs(alone_grads).max())
    assert float(jnp.abs(packed_grads - alone_grads).max()) < 1e-5 * scale
    assert float(packed["nsp"][1]) == len(LENGTHS)
