"""Checks of the folder of a run: healthy, and with each thing broken."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bert_jax.data.manifest import load_manifest
from bert_jax.findings import Finding
from bert_jax.train.checks import check_run
from bert_jax.train.workdir import load_config_of


@pytest.fixture
def copied(tiny_workdir: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return shutil.copytree(tiny_workdir, tmp_path / "run")


def examine(workdir: Path) -> dict[str, Finding]:
    return {
        finding.check: finding for finding in check_run(workdir, load_config_of(workdir))
    }


def test_a_healthy_run(tiny_workdir: Path) -> None:
    found = examine(tiny_workdir)
    assert list(found) == ["run", "disk", "checkpoint"]
    assert all(finding.state == "ok" for finding in found.values())
    assert found["run"].figure.startswith("done, step 6 of 6")
    assert (
        "step 6, " in found["checkpoint"].figure and "finite" in found["checkpoint"].figure
    )


def lose_parameters(workdir: Path) -> None:
    for path in (workdir / "checkpoints" / "6" / "params").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def exchange_tokenizer(workdir: Path) -> None:
    path = workdir / "tokenizer" / "vocab.txt"
    entries = path.read_text().splitlines()
    path.write_text("\n".join([*entries[:-2], entries[-1], entries[-2]]) + "\n")


def exchange_data(workdir: Path) -> None:
    """The data directory of the run becomes one of other content."""
    config = load_config_of(workdir)
    other = workdir / "data"
    shutil.copytree(config.data.directory, other)
    manifest = load_manifest(other)
    name = next(iter(manifest.files))
    manifest.files[name]["sha256"] = "0" * 64
    manifest.save(other)
    data = dataclasses.replace(config.data, directory=str(other))
    (workdir / "config.json").write_text(dataclasses.replace(config, data=data).to_json())


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lose_parameters, ""),
        (exchange_tokenizer, "tokenizer_sha256"),
        (exchange_data, "data_sha256"),
    ],
)
def test_a_checkpoint_that_cannot_go_on(
    copied: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(copied)
    found = examine(copied)
    assert [name for name, finding in found.items() if not finding.ok] == ["checkpoint"]
    assert told in found["checkpoint"].figure


def test_a_run_without_a_checkpoint(copied: Path) -> None:
    shutil.rmtree(copied / "checkpoints")
    (copied / "status.json").unlink()
    found = examine(copied)
    assert found["checkpoint"].figure == "none yet" and found["run"].figure == "not begun"
    assert all(finding.ok for finding in found.values())


def test_what_the_run_says_of_itself(copied: Path) -> None:
    path = copied / "status.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "state": "failed", "message": "no\nmemory"}))
    finding = examine(copied)["run"]
    assert finding.state == "note" and "no memory" in finding.figure
    path.write_text(json.dumps({**values, "format_version": 9}))
    finding = examine(copied)["run"]
    assert not finding.ok and "format_version=9" in finding.figure


def test_a_full_disk(tiny_workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(_: Any) -> Any:
        return shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", usage)
    finding = examine(tiny_workdir)["disk"]
    assert not finding.ok and "train.keep_checkpoints" in finding.mend
