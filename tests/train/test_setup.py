"""What the configuration of a pretraining run decides, against plain NumPy.

Shapes: B batch, L length, N predictions, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from train.reference_masks import targets

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig
from bert_jax.data.manifest import check_manifest
from bert_jax.data.shards import ShardSet
from bert_jax.data.stream import BatchStream
from bert_jax.parallel.mesh import make_mesh
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer
from bert_jax.train.loop import Job
from bert_jax.train.setup import Program, Setup

# Losses are means of a hundred float32 numbers, or, over meshes, see test_step.py.
RTOL = 1e-5
SEED, RATE, PREDICTIONS = 5, 0.3, 9
HELD_OUT_SEED = 20181011
ONE, EIGHT = (1, 1, 1), (2, 2, 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of this machine is of no interest here."""
    monkeypatch.setattr(
        "bert_jax.train.setup.measure_matmul_flops_per_second", lambda dtype: 1e9
    )


@pytest.fixture
def config(tiny_config: Callable[..., Config]) -> Config:
    """A run that has nothing in common with the defaults that its setup could fall to."""
    config = tiny_config(seed=SEED, dropout_rate=0.2)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, max_predictions_per_sequence=PREDICTIONS),
        objective=dataclasses.replace(config.objective, mask_rate=RATE),
    )


@pytest.fixture
def tokenizer(config: Config) -> Tokenizer:
    return load_tokenizer(Path(config.data.directory) / "tokenizer")


def mesh_of(shape: tuple[int, int, int]) -> jax.sharding.Mesh:
    data, fsdp, tensor = shape
    return make_mesh(
        MeshConfig(data=data, fsdp=fsdp, tensor=tensor),
        jax.devices()[: data * fsdp * tensor],
    )


@pytest.fixture
def setup(config: Config, tokenizer: Tokenizer) -> Setup:
    return Setup(config, tokenizer, mesh_of(ONE))


@pytest.fixture
def stream(config: Config, tokenizer: Tokenizer) -> Callable[[str], BatchStream]:
    """The batches of a split, 8 rows each."""
    return lambda split: BatchStream(
        Path(config.data.directory),
        split=split,
        sentence_task="nsp",
        data=config.data,
        global_batch_size=8,
        tokenizer=tokenizer,
    )


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()


def deaf(params: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Parameters whose scores do not depend on the input; the scores of words and of NSP.

    So a loss tells what was asked, whatever the model has seen and dropped.
    """
    words_V = np.random.default_rng(0).normal(size=params["masked_lm"]["bias"].shape)
    sentences_2 = np.array([0.3, -0.4])
    head, norm = params["masked_lm"], params["masked_lm"]["norm"]
    norm = jax.tree.map(jnp.zeros_like, norm)
    changes = {
        "masked_lm": {**head, "norm": norm, "bias": jnp.asarray(words_V, jnp.float32)},
        "next_sentence": {
            "kernel": jnp.zeros_like(params["next_sentence"]["kernel"]),
            "bias": jnp.asarray(sentences_2, jnp.float32),
        },
    }
    placed = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding), {**params, **changes}, params
    )
    return placed, words_V, sentences_2


def answers_of_the_deaf(
    words_V: np.ndarray, sentences_2: np.ndarray, asked_N: np.ndarray, labels_B: np.ndarray
) -> dict[str, float]:
    """Metrics of such a model."""
    return {
        "mlm_loss": -float(log_softmax(words_V)[asked_N].mean()),
        "mlm_accuracy": float((asked_N == words_V.argmax()).mean()),
        "nsp_loss": -float(log_softmax(sentences_2)[labels_B].mean()),
        "nsp_accuracy": float((labels_B == sentences_2.argmax()).mean()),
    }


@pytest.fixture
def held_out(
    stream: Callable[[str], BatchStream], tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """What an evaluation of two batches asks for: words and labels of sentences."""
    batches = [stream("eval").batch_at(step) for step in range(2)]
    drawn = {
        (rate, seed): np.concatenate(
            [targets(b, tokenizer, rate, 5, seed) for b in batches]
        ).tolist()
        for rate in (0.15, RATE)
        for seed in (HELD_OUT_SEED, SEED)
    }
    # Negative control: neither the rate nor the seed of training asks for the same words.
    expected = drawn.pop((0.15, HELD_OUT_SEED))
    assert len(expected) > 40 and expected not in drawn.values()
    return np.array(expected), np.concatenate([b.sentence_labels[:, 0] for b in batches])


def test_evaluation_asks_the_same_whatever_is_trained(
    setup: Setup,
    held_out: tuple[np.ndarray, np.ndarray],
    config: Config,
    tokenizer: Tokenizer,
) -> None:
    params, words_V, sentences_2 = deaf(setup.job().init().params)
    words_V = words_V[: tokenizer.vocab_size]
    found = setup.evaluate(params)
    assert found == pytest.approx(
        answers_of_the_deaf(words_V, sentences_2, *held_out), rel=RTOL
    )


def test_unigram_metrics_in_plain_numpy(
    setup: Setup,
    held_out: tuple[np.ndarray, np.ndarray],
    config: Config,
    tokenizer: Tokenizer,
) -> None:
    directory = Path(config.data.directory)
    shards = ShardSet(
        directory, "train", check_manifest(directory).splits["train"]["shards"]
    )
    stored = shards.stretch(0, shards.num_tokens)
    counts_V = np.bincount(shards.ids(stored), minlength=tokenizer.vocab_size)
    # Words that do not stand there and rare ones, of which the floor must be seen.
    assert (counts_V == 0).any() and ((counts_V > 1) & (counts_V < 100)).any()
    floored_V = np.maximum(counts_V, 1)
    expected = answers_of_the_deaf(np.log(floored_V), np.array([0.0, 0.0]), *held_out)
    # Of even chances, "random" is counted as the answer.
    expected["nsp_accuracy"] = float((held_out[1] == 1).mean())
    assert setup.unigram_metrics() == pytest.approx(expected, rel=RTOL)


def test_a_step_asks_what_the_configuration_says(
    setup: Setup,
    stream: Callable[[str], BatchStream],
    config: Config,
    tokenizer: Tokenizer,
) -> None:
    job = setup.job()
    state = job.init()
    params, words_V, sentences_2 = deaf(state.params)
    (batch,) = job.batches(3, 4)
    expected_batch = stream("train").batch_at(3)
    for found, expected in zip(batch, expected_batch, strict=True):
        np.testing.assert_array_equal(found, expected)
    asked_N = targets(batch, tokenizer, RATE, PREDICTIONS, SEED)
    others = [
        targets(batch, tokenizer, *other).tolist()
        for other in ((0.15, PREDICTIONS, SEED), (RATE, 10, SEED), (RATE, PREDICTIONS, 0))
    ]
    assert asked_N.tolist() not in others
    _, metrics = job.train_step(state._replace(params=params), job.place(batch))
    expected = answers_of_the_deaf(
        words_V[: tokenizer.vocab_size], sentences_2, asked_N, batch.sentence_labels[:, 0]
    )
    assert {name: float(metrics[name]) for name in expected} == pytest.approx(
        expected, rel=RTOL
    )
    assert job.count_tokens(batch) == (batch.sequence_ids > 0).sum()
    # 2 steps of warm-up to 1e-3, then the line that ends at step 6.
    rates = [job.learning_rate(step) for step in range(6)]
    assert rates == pytest.approx([0, 5e-4, 2e-3 / 3, 5e-4, 1e-3 / 3, 1e-3 / 6], rel=RTOL)


def test_the_dropout_rate_is_that_of_hidden_states_and_of_attention(
    config: Config, tokenizer: Tokenizer
) -> None:
    program = Program(config, tokenizer, mesh_of(ONE))
    built = nnx.merge(program.graphdef, program.abstract.params).config
    assert built == program.bert_config == config.bert_config(tokenizer.vocab_size)
    assert (built.hidden_dropout_prob, built.attention_probs_dropout_prob) == (0.2, 0.2)


def test_the_seed_decides_the_weights(config: Config, tokenizer: Tokenizer) -> None:
    def kernel(seed: int) -> np.ndarray:
        train = dataclasses.replace(config.train, seed=seed)
        changed = dataclasses.replace(config, train=train)
        params = Program(changed, tokenizer, mesh_of(ONE)).init().params
        return np.asarray(params["bert"]["pooler"]["kernel"])

    expected = kernel(SEED)
    assert np.array_equal(kernel(SEED), expected)
    assert not np.array_equal(kernel(SEED + 1), expected)


def test_every_mesh_trains_the_same(config: Config, tokenizer: Tokenizer) -> None:
    """One layer, which compiles in half the time; test_step.py has two of them."""
    model = dataclasses.replace(config.model, num_hidden_layers=1)
    config = dataclasses.replace(config, model=model)
    expected, of_other_masks = steps_of(Setup(config, tokenizer, mesh_of(ONE)).job(), 0, 8)
    (found,) = steps_of(Setup(config, tokenizer, mesh_of(EIGHT)).job(), 0)
    np.testing.assert_allclose(found, expected, rtol=RTOL)
    # Negative control: the number of devices in the seed of masks and dropout.
    assert np.max(np.abs(of_other_masks / expected - 1.0)) > 100 * RTOL


def steps_of(job: Job, *epochs: int) -> list[np.ndarray]:
    """Losses and gradient norms of the first three steps, for batches of each epoch."""
    compiled = job.train_step.lower(
        job.init(), job.place(next(job.batches(0, 1)))
    ).compile()
    found = []
    for epoch in epochs:
        state, rows = job.init(), []
        for batch in job.batches(0, 3):
            batch = batch._replace(epochs=batch.epochs + np.uint32(epoch))
            state, metrics = compiled(state, job.place(batch))
            rows.append([float(metrics[n]) for n in ("mlm_loss", "nsp_loss", "grad_norm")])
        found.append(np.array(rows))
    return found


@pytest.mark.parametrize("is_told", [True, False])
def test_each_device_is_told_to_keep_its_rows(
    config: Config, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """What the compiler is told; with a model this small it does the same untold."""
    if not is_told:  # negative control
        unconstrained = lambda mesh, axes: lambda activation, dims: activation  # noqa: E731
        monkeypatch.setattr("bert_jax.train.setup.make_constrain", unconstrained)
    job = Setup(config, tokenizer, mesh_of(EIGHT)).job()
    lowered = job.train_step.lower(job.abstract, job.place(next(job.batches(0, 1))))
    rows = r'<@mesh, \[\{"data", "fsdp"\}[{}, ]*(?:\{"sequence"\})?[{}, ]*\]>'
    told = re.findall(
        rf"sharding_constraint %\S+ {rows} : tensor<(.*)xf32>", lowered.as_text()
    )
    # Between layers, before the head for words, before that for sentences.
    expected = {"8x32x32", f"8x{PREDICTIONS}x32", "8x1x32"}
    assert set(told) == (expected if is_told else set())


def test_layers_are_in_a_loop_or_unrolled(config: Config, tokenizer: Tokenizer) -> None:
    """A scan is a loop forward and one backward; on CPUs, auto is unroll."""

    def num_loops(scan_layers: str) -> int:
        changed = with_fields(config, train={"scan_layers": scan_layers})
        job = Setup(changed, tokenizer, mesh_of(ONE)).job()
        batch = job.place(next(job.batches(0, 1)))
        return job.train_step.lower(job.abstract, batch).as_text().count("stablehlo.while")

    assert num_loops("scan") - 2 == num_loops("unroll") == num_loops("auto")


def with_fields(config: Config, **sections: dict[str, Any]) -> Config:
    """The configuration with some fields of its sections changed."""
    values = config.to_dict()
    return Config.from_dict({**values, **{k: values[k] | v for k, v in sections.items()}})


def test_the_mask_rate_moves_with_the_steps(config: Config, tokenizer: Tokenizer) -> None:
    objective = {"mask_rate": 0.3, "final_mask_rate": 0.1}
    config = with_fields(config, objective=objective, train={"num_steps": 48})
    setup = Setup(config, tokenizer, mesh_of(ONE))
    job = setup.job()
    state = job.init()
    asked = {}
    for step in (0, 23, 47):
        (batch,) = job.batches(step, step + 1)
        stage = step * 16 // 48
        assert batch.mask_stages.tolist() == [stage] * 8
        rate = 0.3 - 0.2 * stage / 15
        params, words_V, _ = deaf(state.params)
        state, metrics = job.train_step(
            state._replace(params=params, step=jnp.asarray(step, jnp.int32)),
            job.place(batch),
        )
        asked[step] = targets(batch, tokenizer, rate, PREDICTIONS, SEED)
        answers = answers_of_the_deaf(
            words_V[: tokenizer.vocab_size], np.zeros(2), asked[step], np.zeros(8, int)
        )
        assert float(metrics["mlm_loss"]) == pytest.approx(answers["mlm_loss"], rel=RTOL)
    assert len(asked[47]) < 0.5 * len(asked[0])


@pytest.mark.parametrize("task", ["nsp", "sop", "none"])
def test_packed_rows_train_the_same_on_every_mesh(
    config: Config, tokenizer: Tokenizer, task: str
) -> None:
    config = with_fields(
        config,
        model={"num_hidden_layers": 1},
        data={"packing": 3, "short_sequence_rate": 0.9},
        objective={"sentence_task": task, "masking": "whole_word"},
    )
    found = []
    for shape in (ONE, EIGHT):
        job = Setup(config, tokenizer, mesh_of(shape)).job()
        state = job.init()
        batch = next(b for b in job.batches(0, 60) if (b.sequence_ids == 2).any())
        _, metrics = job.train_step(state, job.place(batch))
        losses = {"mlm_loss"} if task == "none" else {"mlm_loss", f"{task}_loss"}
        assert losses == {name for name in metrics if name.endswith("_loss")}
        found.append([float(metrics[name]) for name in sorted({*losses, "grad_norm"})])
    np.testing.assert_allclose(found[1], found[0], rtol=RTOL)


def test_held_out_words_are_the_same_with_and_without_packing(
    config: Config, tokenizer: Tokenizer
) -> None:
    """All of the held-out text: as many predictions, and the same mean loss."""
    losses = []
    for packing in (1, 4):
        data = {"packing": packing, "short_sequence_rate": 0.9}
        changed = with_fields(
            config,
            data=data,
            train={"global_batch_size": 1, "eval_batches": 10_000},
        )
        setup = Setup(changed, tokenizer, mesh_of(ONE))
        losses.append(setup.evaluate(setup.job().init().params))
    assert losses[0] == pytest.approx(losses[1], rel=RTOL)
