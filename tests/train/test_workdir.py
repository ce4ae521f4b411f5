"""A workdir belongs to one run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bert_jax.config import Config
from bert_jax.train.workdir import (
    check_workdir,
    load_config_of,
    own_workdir,
    save_config,
    with_data_directory,
)


def make(**sections: dict[str, Any]) -> Config:
    return Config.from_dict({"optim": {"warmup_steps": 1}, **sections})


def test_the_configuration_is_kept_resolved(tmp_path: Path) -> None:
    config = make(train={"num_steps": 7})
    save_config(tmp_path / "a" / "b", config)
    assert load_config_of(tmp_path / "a" / "b") == config
    config = with_data_directory(config, Path("/data"))
    assert config.data.directory == "/data"
    save_config(tmp_path / "a" / "b", config)  # whatever was there
    assert load_config_of(tmp_path / "a" / "b") == config


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"num_steps": 9}},
        {"train": {"log_every_steps": 3, "save_every_steps": 5, "keep_checkpoints": 1}},
        {"mesh": {"fsdp": 2}},
    ],
)
def test_what_does_not_decide_results_may_change(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    before = with_data_directory(make(), Path("/data"))
    save_config(tmp_path, before)
    expected = with_data_directory(make(**change), Path("/data"))  # of the run
    assert check_workdir(tmp_path, make(**change)) == expected
    assert load_config_of(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {"seed": 1}}, "train.seed=1 must be 0"),
        ({"model": {"name": "tiny"}}, 'model.name="tiny" must be "base"'),
        ({"train": {"global_batch_size": 8}}, "train.global_batch_size=8 must be 256"),
        ({"optim": {"warmup_steps": 2}}, "optim.warmup_steps=2 must be 1"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    save_config(tmp_path, make())
    with pytest.raises(ValueError, match="has a run of another configuration: ") as error:
        check_workdir(tmp_path, make(**change))
    (line,) = str(error.value).splitlines()
    assert said in line
    assert line.endswith("use a new workdir")
    assert load_config_of(tmp_path) == make()


def test_a_folder_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be the folder of a run \(.* is missing\)$"):
        load_config_of(tmp_path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder that can be written"):
        save_config(tmp_path / "file", make())


def test_one_run_at_a_time(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    with own_workdir(workdir):
        said = rf"workdir=.*/run is in use by process {os.getpid()} on \S+; wait"
        with pytest.raises(ValueError, match=said), own_workdir(workdir):
            pytest.fail("two runs in one workdir")
    with own_workdir(workdir):  # free again
        pass


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with (
        pytest.raises(ValueError, match=r"must be a folder that can be written"),
        own_workdir(tmp_path / "run"),
    ):
        pytest.fail("a file is no workdir")
