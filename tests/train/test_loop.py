"""The loop: what is logged, saved and evaluated when; stopping; resuming."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from train import toy

from bert_jax.report.metrics_file import read_metrics
from bert_jax.train.loop import NonFiniteLossError

RATES = ("tokens_per_second", "mfu")  # measured, so never the same twice


def rows(workdir: Path) -> dict[tuple[int, str], dict[str, Any]]:
    """Rows by (step, split), without what time decides."""
    found = {}
    for row in read_metrics(workdir):
        key = (row["step"], row["split"] if "split" in row else "train")
        assert key not in found
        found[key] = {name: row[name] for name in row if name not in RATES}
    return found


def steps_saved(workdir: Path) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())


def test_rows_are_complete_and_stand_once(tmp_path: Path) -> None:
    toy.run(toy.make_job(), tmp_path, toy.config())
    found = rows(tmp_path)
    trained = [step for step, split in found if split == "train"]
    evaluated = [step for step, split in found if split == "eval"]
    assert (trained, evaluated) == (list(range(1, 11)), [0, 4, 8, 10])
    names = {"step", "loss", "square_loss", "error", "learning_rate"}
    names |= {"grad_norm", "param_norm"}
    for step in trained:
        assert set(found[step, "train"]) == names | {"batch_hash"}
        # The first step has the batch 0; the row says how many updates are done.
        assert found[step, "train"]["batch_hash"] == f"{step - 1:016x}"
    assert all(row.keys() >= set(RATES) for row in read_metrics(tmp_path)[1:2])
    assert found[10, "train"]["loss"] < found[1, "train"]["loss"]
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["step"], status["num_steps"]) == (10, 10)


def test_only_every_nth_step_is_logged(tmp_path: Path) -> None:
    toy.run(toy.make_job(), tmp_path, toy.config(log_every_steps=4, save_every_steps=100))
    assert [s for s, split in rows(tmp_path) if split == "train"] == [1, 4, 8, 10]
    assert steps_saved(tmp_path) == [10]


def test_logged_losses_are_those_of_the_steps(tmp_path: Path) -> None:
    """Read one step late, they still belong to their own step."""
    job = toy.make_job()
    toy.run(job, tmp_path, toy.config())
    state = job.init()
    for step in range(10):
        state, metrics = job.train_step(state, job.place(toy.points(step)))
        assert rows(tmp_path)[step + 1, "train"]["loss"] == float(metrics["loss"])


def test_a_step_is_read_while_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading waits for the device: it must have the next step by then."""
    events: list[str] = []
    job, fetch = toy.make_job(), jax.device_get
    step = job.train_step

    class Watched:
        """The same step; it says when it is given to the device."""

        def lower(self, *args: Any) -> Any:
            compiled = step.lower(*args).compile()

            def run(*given: Any) -> Any:
                events.append("run")
                return compiled(*given)

            return types.SimpleNamespace(compile=lambda: run)

    def watched_fetch(tree: Any) -> Any:
        events.extend(["read"] if isinstance(tree, dict) and "grad_norm" in tree else [])
        return fetch(tree)

    monkeypatch.setattr(jax, "device_get", watched_fetch)
    config = toy.config(num_steps=5, eval_every_steps=3, save_every_steps=3)
    toy.run(dataclasses.replace(job, train_step=Watched()), tmp_path, config)
    # Before an evaluation and a save (after 3 and at the end) what is there is read.
    expected = "run run read run read read run run read read"
    assert events == expected.split()


def test_the_logged_rate_is_that_of_the_update(tmp_path: Path) -> None:
    """The update that ends with row k was made at the rate of step k − 1."""
    job = dataclasses.replace(toy.make_job(), learning_rate=lambda step: 0.5**step)
    toy.run(job, tmp_path, toy.config())
    found = {s: row for (s, split), row in rows(tmp_path).items() if split == "train"}
    assert {s: row["learning_rate"] for s, row in found.items()} == {
        step + 1: 0.5**step for step in range(10)
    }


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    toy.run(toy.make_job(), tmp_path, toy.config(num_steps=14, keep_checkpoints=2))
    assert steps_saved(tmp_path) == [12, 14]


def nan_at(step: int, name: str) -> Any:
    """The loss, whose value or whose gradient is not a number on the batch of a step."""
    mark = toy.points(step)[0, 0]

    def loss(model: Any, batch: jax.Array, key: jax.Array | None) -> Any:
        losses, others = toy.loss(model, batch, key)
        total, weight = losses["square"]
        is_bad = (batch[0, 0] == mark) & (key is not None)
        if name == "loss":
            bad = jnp.where(is_bad, jnp.nan, 0.0)
        else:  # √0 has a value and no gradient
            bad = jnp.sqrt(jnp.where(is_bad, 0.0, 1.0) * jnp.abs(model.kernel[0, 0])) * 0.0
        return {"square": (total + bad, weight)}, others

    return loss


@pytest.mark.parametrize(
    ("bad_step", "kind"),
    [(4, "loss"), (4, "grad_norm"), (5, "loss"), (9, "loss"), (0, "loss")],
)
def test_nan_stops_and_is_not_saved(tmp_path: Path, bad_step: int, kind: str) -> None:
    job = toy.make_job(loss_fn=nan_at(bad_step, kind))
    with pytest.raises(NonFiniteLossError) as error:
        toy.run(job, tmp_path, toy.config())
    message = str(error.value)
    assert message.startswith(f"step {bad_step + 1}: ")
    assert f"{kind}=nan" in message
    assert f"batch {bad_step:016x}" in message
    assert len(message.splitlines()) == 1
    sound = [step for step in (3, 6, 9) if step <= bad_step]
    folder = tmp_path / "checkpoints"
    assert sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) == sound
    assert max(step for step, _ in rows(tmp_path)) <= bad_step
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["message"]) == ("failed", message)
    # The same loss without the bad batch goes on from there to the end.
    state = toy.run(toy.make_job(), tmp_path, toy.config())
    assert int(state.step) == 10


def test_an_update_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    """Loss and gradient of its step are sound: they were taken before it."""
    step = toy.make_job().train_step

    class Exploding:
        """The step whose sixth update is infinite."""

        def lower(self, *args: Any) -> Any:
            compiled = step.lower(*args).compile()

            def run(state: Any, batch: Any) -> Any:
                done = int(state.step)
                state, metrics = compiled(state, batch)
                if done == 5:
                    params = jax.tree.map(lambda x: x * jnp.inf, state.params)
                    norm = optax.tree.norm(params)
                    return state._replace(params=params), {**metrics, "param_norm": norm}
                return state, metrics

            return types.SimpleNamespace(compile=lambda: run)

    job = dataclasses.replace(toy.make_job(), train_step=Exploding())
    with pytest.raises(NonFiniteLossError, match=r"^step 6: .*param_norm="):
        toy.run(job, tmp_path, toy.config(save_every_steps=1))
    assert max(steps_saved(tmp_path)) == 5


def test_the_norm_is_that_of_the_parameters_after_the_update(tmp_path: Path) -> None:
    state = toy.run(toy.make_job(), tmp_path, toy.config())
    norm = np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(state.params)))
    assert rows(tmp_path)[10, "train"]["param_norm"] == pytest.approx(norm, rel=1e-6)


def test_an_evaluation_that_is_not_finite_stops(tmp_path: Path) -> None:
    job = dataclasses.replace(toy.make_job(), evaluate=lambda _: {"loss": float("nan")})
    with pytest.raises(NonFiniteLossError, match=r"^evaluation after step 0: loss=nan"):
        toy.run(job, tmp_path, toy.config())


def test_rates_are_of_the_steps_that_ran(tmp_path: Path) -> None:
    """Also where an evaluation or a save reads two steps one upon the other."""
    tokens, seconds = 64, 0.02
    job = toy.make_job()
    compiled = job.train_step

    class Slow:
        """The same step, and a device that takes its time."""

        def lower(self, *args: Any) -> Any:
            run = compiled.lower(*args).compile()

            def slow(*given: Any) -> Any:
                time.sleep(seconds)
                return run(*given)

            return types.SimpleNamespace(compile=lambda: slow)

    job = dataclasses.replace(job, train_step=Slow())
    toy.run(job, tmp_path, toy.config())
    rates = [r["tokens_per_second"] for r in read_metrics(tmp_path) if "split" not in r]
    assert len(rates) == 10
    assert max(rates) < 2.5 * tokens / seconds


def test_an_evaluation_takes_nothing_from_the_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of its own: a step takes a second, an evaluation a thousand."""
    seconds = [0.0]
    job = toy.make_job()
    compiled, evaluate = job.train_step, job.evaluate

    class Ticking:
        """The same step, which takes a second."""

        def lower(self, *args: Any) -> Any:
            run = compiled.lower(*args).compile()

            def tick(*given: Any) -> Any:
                seconds[0] += 1
                return run(*given)

            return types.SimpleNamespace(compile=lambda: tick)

    def slow_evaluate(params: Any) -> dict[str, float]:
        seconds[0] += 1000
        return evaluate(params)

    clock = types.SimpleNamespace(perf_counter=lambda: seconds[0])
    monkeypatch.setattr("bert_jax.train.loop.time", clock)
    job = dataclasses.replace(job, train_step=Ticking(), evaluate=slow_evaluate)
    toy.run(job, tmp_path, toy.config())
    rates = [r["tokens_per_second"] for r in read_metrics(tmp_path) if "split" not in r]
    assert rates == [64.0] * 10


@pytest.mark.parametrize("mesh", [toy.ONE, toy.EIGHT])
def test_resumed_is_never_stopped(tmp_path: Path, mesh: Any) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    expected = toy.run(toy.make_job(mesh), whole, toy.config())
    toy.run(toy.make_job(mesh), halves, toy.config(num_steps=6, eval_every_steps=100))
    state = toy.run(toy.make_job(mesh), halves, toy.config())
    for a, b in zip(toy.arrays(expected), toy.arrays(state), strict=True):
        np.testing.assert_array_equal(a, b)
    trained = [key for key in rows(whole) if key[1] == "train"]
    assert len(trained) == 10
    assert [rows(whole)[key] for key in trained] == [rows(halves)[key] for key in trained]


def test_what_was_logged_after_the_checkpoint_is_taken_back(tmp_path: Path) -> None:
    job = dataclasses.replace(toy.make_job(loss_fn=nan_at(4, "loss")))
    with pytest.raises(NonFiniteLossError):
        toy.run(job, tmp_path, toy.config())
    path = tmp_path / "metrics.jsonl"
    assert max(step for step, _ in rows(tmp_path)) == 4  # and the checkpoint is that of 3
    torn = path.read_text() + '{"step": 5, "lo'
    path.write_text(torn.replace('"step": 4', '"other": 1, "step": 4'))
    toy.run(toy.make_job(), tmp_path, toy.config())
    found = rows(tmp_path)
    assert [step for step, split in found if split == "train"] == list(range(1, 11))
    assert "other" not in found[4, "train"]
    assert "other" not in found[4, "eval"]


def test_a_finished_run_returns_at_once(tmp_path: Path) -> None:
    before = toy.run(toy.make_job(), tmp_path, toy.config())
    text = (tmp_path / "metrics.jsonl").read_text()

    def never(*_: Any) -> Any:
        raise AssertionError("a finished run reads no batch")

    job = dataclasses.replace(toy.make_job(), batches=never, init=never)
    after = toy.run(job, tmp_path, toy.config())
    for a, b in zip(toy.arrays(before), toy.arrays(after), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "metrics.jsonl").read_text() == text


@pytest.mark.parametrize("is_lost", [True, False])
def test_the_end_of_a_finished_run_is_evaluated(tmp_path: Path, is_lost: bool) -> None:
    """Where its record is lost, and where the end is a checkpoint on the way."""
    toy.run(toy.make_job(), tmp_path, toy.config(num_steps=10))
    expected = dict(rows(tmp_path))
    if is_lost:
        (tmp_path / "metrics.jsonl").unlink()
        toy.run(toy.make_job(), tmp_path, toy.config(num_steps=10))
        assert rows(tmp_path) == {(10, "eval"): expected[10, "eval"]}
        return
    shutil.rmtree(tmp_path / "checkpoints" / "10")
    toy.run(toy.make_job(), tmp_path, toy.config(num_steps=9))
    evaluated = [step for step, split in rows(tmp_path) if split == "eval"]
    assert evaluated == [0, 4, 8, 9]


def test_a_start_anew_takes_back_all(tmp_path: Path) -> None:
    """Rows of a start without a checkpoint may be of another configuration."""
    old = {"step": 0, "split": "eval", "square": -1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(old) + "\n")
    toy.run(toy.make_job(), tmp_path, toy.config())
    assert rows(tmp_path)[0, "eval"]["square"] > 0


def test_more_steps_extend_a_finished_run(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = toy.run(toy.make_job(), whole, toy.config(num_steps=13))
    toy.run(toy.make_job(), tmp_path, toy.config(num_steps=10))
    state = toy.run(toy.make_job(), tmp_path, toy.config(num_steps=13))
    assert int(state.step) == 13
    for a, b in zip(toy.arrays(expected), toy.arrays(state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [s for s, split in rows(tmp_path) if split == "train"] == list(range(1, 14))


def test_the_data_cursor_is_the_step(tmp_path: Path) -> None:
    """Negative control of resuming: a stream that begins anew is seen."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    expected = toy.run(toy.make_job(), whole, toy.config())
    toy.run(toy.make_job(), halves, toy.config(num_steps=6))
    forgetful = toy.make_job(batch_at=lambda step: toy.points(step - 6))
    state = toy.run(forgetful, halves, toy.config())
    assert not np.array_equal(toy.arrays(expected)[2], toy.arrays(state)[2])
    assert rows(whole)[8, "train"]["loss"] != rows(halves)[8, "train"]["loss"]
