"""Apache Beam does the same work: byte-identical files, restart, mistakes in one line."""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

import pytest

from bert_jax.cli import main
from bert_jax.config import Config
from bert_jax.data import ranges
from bert_jax.data.beam_engine import BeamEngine
from bert_jax.data.prepare import prepare


def quiet(label: str, done: int, total: int) -> None:
    """A report that nobody reads."""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """Sixty documents in several ranges, the last ten once more."""
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 10_000)
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 7))) for _ in range(99)]
    lines = [
        [" ".join(rng.choices(words, k=9)) + "." for _ in range(20)] for _ in range(60)
    ]
    documents = ["\n".join(document) for document in [*lines, *lines[-10:]]]
    (tmp_path / "texts.txt").write_text("\n\n".join(documents))
    source = {"name": "text_files", "path": str(tmp_path / "texts.txt")}
    data = {"sources": [source], "eval_fraction": 0.2, "sequence_length": 32}
    return Config.from_dict({"data": data, "tokenizer": {"vocab_size": 300}})


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of each file, the lock apart."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.beam
def test_beam_makes_the_same_bytes(config, tmp_path):
    local, beam = tmp_path / "local", tmp_path / "beam"
    manifest = prepare(config, local, report=quiet, num_processes=1)
    assert manifest.splits["train"]["shards"] > 3
    assert manifest.dropped["exact_duplicates"] == 10
    engine = BeamEngine("DirectRunner", "")
    assert prepare(config, beam, report=quiet, engine=engine) == manifest
    assert digests(beam) == digests(local)


@pytest.mark.beam
def test_beam_in_several_processes_and_after_an_interruption(config, tmp_path, monkeypatch):
    """One range is done here, the rest by Beam's processes, which import bert_jax anew."""
    local, beam = tmp_path / "local", tmp_path / "beam"
    prepare(config, local, report=quiet, num_processes=1)
    real, done = ranges.RangeStage.__call__, []

    def once(self: ranges.RangeStage, item: ranges.Range) -> None:
        if done:
            raise KeyboardInterrupt
        real(self, item)
        done.append(item)

    with monkeypatch.context() as patch:
        patch.setattr(ranges.RangeStage, "__call__", once)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, beam, report=quiet, num_processes=1)
    report = beam / "work" / "range-00000.json"
    before = report.stat().st_mtime_ns
    seen = []
    options = "--direct_running_mode=multi_processing --direct_num_workers=2"

    def tell(label: str, finished: int, total: int) -> None:
        if label == "write shards" and not seen:
            seen.append(report.stat().st_mtime_ns)

    prepare(config, beam, report=tell, engine=BeamEngine("DirectRunner", options))
    assert seen == [before]
    assert digests(beam) == digests(local)


@pytest.mark.beam
def test_an_unknown_runner_is_refused():
    with pytest.raises(ValueError, match=r"--runner=DirektRunner must be local or"):
        BeamEngine("DirektRunner", "")


def test_without_beam_one_line_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert main(["prepare", "--config=tiny_cpu", "--runner=FlinkRunner"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "--runner=FlinkRunner" in said and "pip install 'bert_jax[beam]'" in said


def test_options_without_a_runner_are_refused(capsys):
    assert main(["prepare", "--config=tiny_cpu", "--runner-options=--project=x"]) == 2
    assert "--runner-options are of a Beam runner" in capsys.readouterr().err
