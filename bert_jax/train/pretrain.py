"""The pretraining job: prepared data, model, optimizer and loop put together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax

from bert_jax.config import Config
from bert_jax.data.manifest import FILE_NAME, Manifest, check_manifest
from bert_jax.data.prepare import cache_root, data_directory, prepare
from bert_jax.formats.orbax import check_hashes, load_params, newest_record
from bert_jax.parallel.devices import use_compilation_cache
from bert_jax.parallel.mesh import check_mesh, make_mesh
from bert_jax.parallel.rules import tree_shardings
from bert_jax.report.metrics_file import read_metrics
from bert_jax.report.progress import Progress
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer
from bert_jax.train.adoption import adopt
from bert_jax.train.checkpoint import CHECKPOINTS, Checkpoints, check_num_steps
from bert_jax.train.export import renew_export
from bert_jax.train.log import RunLog
from bert_jax.train.loop import train
from bert_jax.train.setup import Setup
from bert_jax.train.workdir import (
    TOKENIZER,
    check_workdir,
    load_config_of,
    own_workdir,
    save_config,
    with_data_directory,
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run can say of itself.

    Attributes:
        metrics: held-out metrics of the model.
        untrained: the same of the model before its first step; None where the workdir
            has lost the record.
        unigram: the same of a model that knows word frequencies only.
    """

    metrics: dict[str, float]
    untrained: dict[str, float] | None
    unigram: dict[str, float]

    @property
    def nats_below_unigram(self) -> float:
        """How far the masked-word loss is below that of the unigram baseline."""
        return self.unigram["mlm_loss"] - self.metrics["mlm_loss"]


def pretrain(
    config: Config, workdir: Path, progress: Progress, *, verify_data: bool = False
) -> Outcome:
    """Runs or resumes a pretraining run, from text on disk to a trained model.

    Args:
        config: what to do.
        workdir: the run's folder; the same call again goes on from its last checkpoint.
        progress: where to show what happens.
        verify_data: compare every file of prepared data with its hash first.

    Raises:
        ValueError: the configuration does not fit the devices, the workdir or the data.
        NonFiniteLossError: training diverged.
    """
    use_compilation_cache(cache_root() / "compiled")
    mesh = make_mesh(config.mesh)
    check_mesh(mesh, config)
    last = config.train.num_steps
    newest = newest_record(workdir / CHECKPOINTS)
    if newest is None:
        config = adopt(config)
        save_config(workdir, config)
    else:
        config = check_workdir(workdir, config)
        check_num_steps(newest[0], last)
    with own_workdir(workdir), RunLog(workdir, last, progress) as log:
        log.line(
            f"{mesh.size} x {mesh.devices.flat[0].device_kind}, mesh {dict(mesh.shape)}"
        )
        if newest is None:
            log.status("preparing")
        directory = data_directory(config)
        config = with_data_directory(config, directory)
        manifest = _manifest(
            config,
            directory,
            progress,
            is_resumed=newest is not None,
            verify_data=verify_data,
        )
        for line in manifest.summary():
            log.line(line)
        tokenizer = _tokenizer(workdir, manifest, directory, newest)
        setup = Setup(config, tokenizer, mesh)
        job = setup.job()
        # All checks have passed: from here on a run that resumes writes, too.
        save_config(workdir, config)
        if newest is None:
            tokenizer.save(workdir / TOKENIZER)
        log.status("preparing")
        checkpoints = Checkpoints(
            workdir,
            config,
            vocab_size=tokenizer.vocab_size,
            tokenizer_sha256=tokenizer.sha256,
            data_sha256=manifest.sha256,
        )
        try:
            train(job, config.train, checkpoints, log)
        finally:
            checkpoints.close()
        if not log.has_eval_row(last, split="unigram"):
            log.eval_row(last, setup.unigram_metrics(), split="unigram")
        if jax.process_index() == 0:
            renew_export(workdir, last)
        log.status("done")
    return _outcome(read_metrics(workdir), last)


def _outcome(rows: list[dict[str, Any]], last: int) -> Outcome:
    metrics = {
        (row["step"], row["split"]): {
            name: value for name, value in row.items() if name not in ("step", "split")
        }
        for row in rows
        if "split" in row
    }
    return Outcome(
        metrics=metrics[last, "eval"],
        untrained=metrics[0, "eval"] if (0, "eval") in metrics else None,
        unigram=metrics[last, "unigram"],
    )


def _manifest(
    config: Config,
    directory: Path,
    progress: Progress,
    *,
    is_resumed: bool,
    verify_data: bool,
) -> Manifest:
    """The manifest of prepared data, made if need be.

    A run that resumes holds its data to its checkpoint (see `_tokenizer`), and its
    configuration to its workdir: what they were made from may be gone.
    """
    if is_resumed and (directory / FILE_NAME).is_file():
        return check_manifest(directory, verify_hashes=verify_data)
    return prepare(config, directory, report=progress.bar, verify_hashes=verify_data)


def _tokenizer(
    workdir: Path,
    manifest: Manifest,
    directory: Path,
    newest: tuple[int, dict[str, Any]] | None,
) -> Tokenizer:
    """The tokenizer of a run: of its data, and once there is a checkpoint its own.

    Raises:
        ValueError: the newest checkpoint was trained with another one or on other data.
    """
    if newest is None:
        return load_tokenizer(directory / TOKENIZER)
    step, meta = newest
    check_hashes(
        step,
        meta,
        tokenizer_sha256=manifest.tokenizer_sha256,
        data_sha256=manifest.sha256,
    )
    tokenizer = load_tokenizer(workdir / TOKENIZER)
    check_hashes(step, meta, tokenizer_sha256=tokenizer.sha256)
    return tokenizer


def evaluate(config: Config | None, workdir: Path) -> dict[str, Any]:
    """Held-out metrics of the newest checkpoint of a run, beside the unigram baseline.

    Args:
        config: the run's configuration; None to read it from the workdir.
        workdir: the run's folder; nothing is written there.
    """
    config = check_workdir(workdir, config or load_config_of(workdir))
    use_compilation_cache(cache_root() / "compiled")
    mesh = make_mesh(config.mesh)
    check_mesh(mesh, config)
    step, params, meta = load_params(workdir / CHECKPOINTS)
    tokenizer = load_tokenizer(workdir / TOKENIZER)
    check_hashes(step, meta, tokenizer_sha256=tokenizer.sha256)
    setup = Setup(config, tokenizer, mesh)
    params = jax.device_put(params, tree_shardings(params, mesh))
    metrics, unigram = setup.evaluate(params), setup.unigram_metrics()
    return {
        "step": step,
        **metrics,
        "unigram": unigram,
        "nats_below_unigram": unigram["mlm_loss"] - metrics["mlm_loss"],
    }
