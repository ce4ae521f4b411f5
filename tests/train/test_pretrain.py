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

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig, TokenizerConfig
from bert_jax.data.stream import BatchStream
from bert_jax.formats.orbax import load_params
from bert_jax.parallel.mesh import make_mesh
from bert_jax.report.metrics_file import read_metrics
from bert_jax.report.progress import Progress
from bert_jax.report.status import read_status
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.text.vocabulary import train_tokenizer
from bert_jax.train.evaluation import make_evaluate
from bert_jax.train.pretrain import evaluate, pretrain
from bert_jax.train.setup import Setup
from bert_jax.train.workdir import load_config_of

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
        assert set(row) == names | {
            "learning_rate",
            "grad_norm",
            "param_norm",
            "batch_hash",
        }
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


def files(workdir: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file and folder but the lock: when it was last written, and what it has."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in workdir.rglob("*")
        if path.name != ".lock"
    }


def test_evaluate_writes_nothing(copied: Path) -> None:
    (copied / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir()  # the run goes on
    before = files(copied)
    evaluate(None, copied)
    assert files(copied) == before


def test_evaluate_places_parameters_once(
    tiny_workdir: Path, tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def make(*arguments: Any) -> Any:
        evaluate_params = make_evaluate(*arguments)

        def watched(params: Any) -> Any:
            seen.append(params["bert"]["pooler"]["kernel"])
            return evaluate_params(params)

        return watched

    monkeypatch.setattr("bert_jax.train.setup.make_evaluate", make)
    config = dataclasses.replace(tiny_config(), mesh=MeshConfig(data=1, fsdp=8))
    evaluate(config, tiny_workdir)
    (kernel,) = seen
    assert kernel.addressable_shards[0].data.shape == (32 // 8, 32)


def test_evaluate_refuses_rows_that_do_not_divide(copied: Path) -> None:
    config = (copied / "config.json").read_text()
    (copied / "config.json").write_text(
        config.replace('"global_batch_size": 8', '"global_batch_size": 12')
    )
    with pytest.raises(ValueError, match=r"=12 must be a multiple of .* = 8"):
        evaluate(None, copied)


def test_evaluate_refuses_another_tokenizer(copied: Path) -> None:
    write_meta(copied, tokenizer_sha256="0" * 64)
    with pytest.raises(ValueError, match=r"^checkpoint 6 has tokenizer_sha256=0{12}…; "):
        evaluate(None, copied)


def write_meta(workdir: Path, **changes: Any) -> None:
    """Changes the record of the last checkpoint."""
    path = workdir / "checkpoints" / "6" / "meta" / "metadata"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("key", ["data_sha256", "tokenizer_sha256"])
def test_other_data_are_refused_and_change_nothing(
    copied: Path, tiny_config: Callable[..., Config], key: str
) -> None:
    write_meta(copied, **{key: "0" * 64})
    (copied / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir()
    before = files(copied)
    with pytest.raises(ValueError, match=f"^checkpoint 6 has {key}=000000000000…"):
        start(tiny_config(num_steps=9), copied)
    assert files(copied) == before


def test_the_tokenizer_of_a_run_is_never_overwritten(
    copied: Path, tiny_config: Callable[..., Config]
) -> None:
    other = train_tokenizer(TokenizerConfig(vocab_size=64), ["another text"] * 9)
    other.save(copied / "tokenizer")
    before = files(copied)
    with pytest.raises(ValueError, match=rf"^checkpoint 6 .*{other.sha256[:12]}…; use"):
        start(tiny_config(num_steps=9), copied)
    assert files(copied) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_steps": 5}, r"^train.num_steps=5 must be at least 6, "),
        ({"num_steps": 9, "seed": 1}, "has a run of another configuration: train.seed=1"),
    ],
)
def test_what_is_refused_changes_nothing(
    copied: Path, tiny_config: Callable[..., Config], change: dict[str, int], said: str
) -> None:
    before = files(copied)
    with pytest.raises(ValueError, match=said) as e:
        start(tiny_config(**change), copied)
    assert len(str(e.value).splitlines()) == 1
    assert files(copied) == before


def test_a_mesh_that_does_not_fit_changes_nothing(
    copied: Path, tiny_config: Callable[..., Config]
) -> None:
    before = files(copied)
    mesh = MeshConfig(data=1, tensor=8)  # and 2 heads
    with pytest.raises(ValueError, match=r"mesh\.tensor=8 must divide"):
        start(dataclasses.replace(tiny_config(), mesh=mesh), copied)
    assert files(copied) == before


def test_a_failed_first_start_locks_nothing(
    tmp_path: Path, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config(seed=1)
    data = dataclasses.replace(config.data, directory=str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises((ValueError, OSError)):
        start(dataclasses.replace(config, data=data), tmp_path / "run")
    assert read_status(tmp_path / "run").state == "failed"  # type: ignore[union-attr]
    start(tiny_config(num_steps=3), tmp_path / "run")
    assert load_config_of(tmp_path / "run") == tiny_config(num_steps=3)


def test_a_lost_record_is_made_again(
    copied: Path, tiny_workdir: Path, tiny_config: Callable[..., Config]
) -> None:
    (copied / "metrics.jsonl").unlink()
    outcome = start(tiny_config(), copied)
    assert outcome.untrained is None
    expected = {(r["step"], r.get("split")): r for r in rows(tiny_workdir)}
    for split, found in (("eval", outcome.metrics), ("unigram", outcome.unigram)):
        for name, value in found.items():
            assert value == pytest.approx(expected[6, split][name], rel=1e-5)


@pytest.mark.parametrize("rows", [8, 16, 32, 64])
def test_held_out_examples_stand_once(
    tiny_config: Callable[..., Config], tiny_workdir: Path, rows: int
) -> None:
    """A batch of more rows than examples is cut to what 8 devices can share of them."""
    tokenizer = load_tokenizer(tiny_workdir / "tokenizer")
    config = tiny_config(global_batch_size=rows, eval_batches=99)
    setup = Setup(config, tokenizer, make_mesh(MeshConfig()))
    held_out = setup._eval_stream.rows_per_epoch
    assert 16 < held_out < 32
    ids = [i for b in setup._eval_batches() for i in b.example_ids.ravel().tolist()]
    batch = min(rows, held_out // 8 * 8)
    assert len(ids) == len(set(ids)) == held_out // batch * batch


def test_too_few_held_out_examples_are_refused(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchStream, "rows_per_epoch", 7)
    with pytest.raises(ValueError, match=r"^data.eval_fraction=0.1 must .* 8 .* 7; ") as e:
        start(tiny_config(), tmp_path)
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
