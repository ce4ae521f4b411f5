"""The pretraining job as a whole, in this process: repeated, resumed, extended."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bert_jax.config import Config, MeshConfig
from bert_jax.formats.orbax import load_params
from bert_jax.report.metrics_file import read_metrics
from bert_jax.report.progress import Progress
from bert_jax.train.pretrain import evaluate, pretrain

TIMED = ("tokens_per_second", "mfu")


@pytest.fixture(autouse=True)
def cache(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled programs and corpora of the tiny run."""
    monkeypatch.setenv("BERT_JAX_CACHE", str(tiny_root / "cache"))


def start(config: Config, workdir: Path) -> Any:
    """One start of a run: all its objects are made anew."""
    with Progress(io.StringIO()) as progress:
        return pretrain(config, workdir, progress)


def rows(workdir: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name not in TIMED}
        for row in read_metrics(workdir)
    ]


def saved(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, moments too, as they lie in the file."""
    import orbax.checkpoint as ocp

    found = {}
    for item in ("params", "optimizer"):
        with ocp.PyTreeCheckpointer() as reader, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it reads onto the devices that wrote
            tree = reader.restore((workdir / "checkpoints" / str(step) / item).absolute())
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
    return found


def assert_equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    assert len(a) > 3 * 26 - 1  # parameters and two moments of each
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture
def copied(tiny_workdir: Path, tmp_path: Path) -> Path:
    """The finished run, to be written to."""
    return Path(shutil.copytree(tiny_workdir, tmp_path / "copy"))


def test_workdir_is_complete(tiny_workdir: Path) -> None:
    names = {path.name for path in tiny_workdir.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "status.json", "checkpoints"}
    assert names >= {"tokenizer", "tensorboard"}
    assert json.loads((tiny_workdir / "status.json").read_text())["state"] == "done"
    found = rows(tiny_workdir)
    trained = [row for row in found if "split" not in row]
    assert [row["step"] for row in trained] == list(range(1, 7))
    names = {"step", "loss", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"}
    for row in trained:
        assert set(row) == names | {"learning_rate", "grad_norm", "batch_hash"}
        assert row["loss"] == pytest.approx(row["mlm_loss"] + row["nsp_loss"], rel=1e-6)
    held_out = [(r["step"], r["split"]) for r in found if "split" in r]
    assert held_out == [(0, "eval"), (3, "eval"), (6, "eval"), (6, "unigram")]


def test_twice_is_bitwise_equal(
    tiny_workdir: Path, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    start(tiny_config(), tmp_path)
    assert rows(tmp_path) == rows(tiny_workdir)
    assert_equal(saved(tmp_path, 6), saved(tiny_workdir, 6))
    # Negative control: another order of the data is seen in all of it.
    config = tiny_config()
    data = dataclasses.replace(config.data, seed=1)
    start(dataclasses.replace(config, data=data), tmp_path / "other")
    for a, b in zip(rows(tiny_workdir), rows(tmp_path / "other"), strict=True):
        if "split" not in a:
            assert a["batch_hash"] != b["batch_hash"]
            assert a["mlm_loss"] != b["mlm_loss"]
    expected, other = saved(tmp_path, 6), saved(tmp_path / "other", 6)
    kernels = [name for name in expected if name.endswith("kernel']")]
    assert kernels
    for name in kernels:
        assert np.any(expected[name] != other[name])


def test_resumed_from_the_middle_is_bitwise_equal(
    copied: Path, tiny_workdir: Path, tiny_config: Callable[..., Config]
) -> None:
    shutil.rmtree(copied / "checkpoints" / "6")
    start(tiny_config(), copied)
    key = lambda row: (row["step"], row.get("split", ""))  # noqa: E731
    assert sorted(rows(copied), key=key) == sorted(rows(tiny_workdir), key=key)
    assert_equal(saved(copied, 6), saved(tiny_workdir, 6))


def test_a_finished_run_changes_nothing(
    copied: Path, tiny_config: Callable[..., Config]
) -> None:
    before = (copied / "metrics.jsonl").read_text()
    outcome = start(tiny_config(), copied)
    assert (copied / "metrics.jsonl").read_text() == before
    last = next(r for r in rows(copied) if r.get("split") == "eval" and r["step"] == 6)
    assert outcome.metrics == {k: v for k, v in last.items() if k not in ("step", "split")}


@pytest.mark.slow
def test_more_steps_on_another_mesh(
    copied: Path, tiny_workdir: Path, tiny_config: Callable[..., Config]
) -> None:
    """Extends a run of 8 × 1 × 1 on 2 × 2 × 2, without being told."""
    config = dataclasses.replace(
        tiny_config(num_steps=7), mesh=MeshConfig(data=2, fsdp=2, tensor=2)
    )
    start(config, copied)
    assert load_params(copied / "checkpoints")[0] == 7
    assert_equal(saved(copied, 6), saved(tiny_workdir, 6))
    assert [r["step"] for r in rows(copied) if "split" not in r] == list(range(1, 8))


def test_evaluate_says_what_the_run_said(tiny_workdir: Path) -> None:
    found = evaluate(None, tiny_workdir)
    by_split = {r["split"]: r for r in rows(tiny_workdir) if r.get("split")}  # the last
    assert found["step"] == 6
    for name in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"):
        assert found[name] == pytest.approx(by_split["eval"][name], rel=1e-5)
        assert found["unigram"][name] == pytest.approx(by_split["unigram"][name], rel=1e-5)
    below = found["unigram"]["mlm_loss"] - found["mlm_loss"]
    assert found["nats_below_unigram"] == below


def test_other_data_are_refused(copied: Path, tiny_config: Callable[..., Config]) -> None:
    path = copied / "checkpoints" / "6" / "meta" / "metadata"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "data_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="checkpoint 6 has data_sha256=000000000000…"):
        start(tiny_config(num_steps=9), copied)


def test_fewer_steps_than_are_done_are_refused(
    copied: Path, tiny_config: Callable[..., Config]
) -> None:
    with pytest.raises(ValueError, match=r"^train.num_steps=5 must be at least 6, ") as e:
        start(tiny_config(num_steps=5), copied)
    assert len(str(e.value).splitlines()) == 1


def test_rows_that_do_not_divide_are_refused(
    tmp_path: Path, tiny_config: Callable[..., Config]
) -> None:
    with pytest.raises(ValueError, match=r"=12 must be a multiple of .* = 8"):
        start(tiny_config(global_batch_size=12), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_informed_start_begins_at_word_frequencies(
    tmp_path: Path, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config()
    train = dataclasses.replace(config.train, start="informed")
    start(dataclasses.replace(config, train=train), tmp_path)
    found = {(r["step"], r.get("split")): r["mlm_loss"] for r in rows(tmp_path)}
    assert found[0, "eval"] == pytest.approx(found[6, "unigram"], abs=0.05)
