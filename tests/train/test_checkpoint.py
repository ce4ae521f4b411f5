"""Checkpoints of a run: any mesh reads them, another run's are refused."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from train import toy

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig
from bert_jax.train.checkpoint import Checkpoints


def test_restores_on_another_mesh(tmp_path: Path) -> None:
    meshes = [MeshConfig(data=1, fsdp=8), MeshConfig(data=4, fsdp=2), toy.ONE]
    before = toy.run(toy.make_job(meshes[0]), tmp_path, toy.config())
    for mesh in meshes:
        job = toy.make_job(mesh)
        after = toy.run(job, tmp_path, toy.config())
        for a, b in zip(toy.arrays(before), toy.arrays(after), strict=True):
            np.testing.assert_array_equal(a, b)
        shardings = jax.tree.map(lambda x: x.sharding, (job.abstract, after))
        assert shardings[0] == shardings[1]
        kernel = after.params["kernel"]
        assert kernel.addressable_shards[0].data.shape[0] == 8 // mesh.fsdp


@pytest.mark.parametrize("key", ["tokenizer_sha256", "data_sha256"])
def test_another_vocabulary_or_other_data_are_refused(tmp_path: Path, key: str) -> None:
    toy.run(toy.make_job(), tmp_path, toy.config(num_steps=3))
    with pytest.raises(ValueError, match=rf"^checkpoint 3 has {key}=") as error:
        toy.run(toy.make_job(), tmp_path, toy.config(), **{key: "c" * 64})
    assert f"must be that of this run, {'c' * 12}…; use the " in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    toy.run(toy.make_job(), tmp_path, toy.config(num_steps=3))
    path = tmp_path / "checkpoints" / "3" / "meta" / "metadata"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    with pytest.raises(ValueError, match="format_version=2 must be 1"):
        toy.run(toy.make_job(), tmp_path, toy.config())


def test_the_record_says_what_was_run(tmp_path: Path) -> None:
    config = toy.config(num_steps=3)
    toy.run(toy.make_job(), tmp_path, config)
    text = (tmp_path / "checkpoints" / "3" / "meta" / "metadata").read_text()
    meta = json.loads(text)
    assert Config.from_dict(meta.pop("config")) == config
    assert meta == {"format_version": 1, **toy.HASHES}


def test_a_step_is_saved_once(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, toy.config(), **toy.HASHES)
    state = toy.make_job().init()
    for _ in range(2):
        checkpoints.save(state, 5)
    checkpoints.close()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["5"]
