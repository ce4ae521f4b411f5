"""The verb `doctor` from the command line: table, JSON, picture, exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import write_config

from bert_jax import cli
from bert_jax.parallel import checks


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MATMUL_SIZE", 64)


@pytest.fixture
def config_file(tiny_config: Callable[..., Any], tmp_path: Path) -> Path:
    return write_config(tmp_path / "config.json", tiny_config().to_dict())


def test_a_healthy_run_in_a_table_and_a_picture(
    tiny_workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "data.png"
    code = cli.main(["doctor", str(tiny_workdir), f"--picture={picture}", "--verify"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0, lines
    assert all(line[:6] in ("ok    ", "note  ") for line in lines[:-1])
    checks = {line[6:26].strip() for line in lines[:-1]}
    assert checks >= {
        "versions",
        "cache",
        "config.json",
        "files",
        "padding",
        "mesh",
        "disk",
    }
    assert any("hashes as in manifest.json" in line for line in lines)
    assert lines[-1].endswith("0 failed")
    assert picture.read_bytes()[1:4] == b"PNG"


def test_one_json_object(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", f"--config={config_file}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    states = {finding["check"]: finding["state"] for finding in told["findings"]}
    assert states["ids"] == states["files"] == "ok"
    assert told["data"]["sequence_length"] == 32


def test_damage_ends_with_code_1(
    tiny_config: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tiny_config().to_dict()
    directory = shutil.copytree(values["data"]["directory"], tmp_path / "data")
    (directory / "shards" / "train-00000.tokens.npy").unlink()
    values["data"]["directory"] = str(directory)
    path = write_config(tmp_path / "config.json", values)
    assert cli.main(["doctor", f"--config={path}"]) == 1
    failed = [x for x in capsys.readouterr().out.splitlines() if x.startswith("FAIL")]
    assert len(failed) == 1 and "train-00000.tokens.npy must exist" in failed[0]


def test_another_mesh_and_a_damaged_configuration(
    tiny_workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = shutil.copytree(tiny_workdir, tmp_path / "run")
    path = workdir / "config.json"
    config = f"--config={path}"
    assert cli.main(["doctor", str(workdir), config, "--config.mesh.data=3"]) == 2
    capsys.readouterr()
    assert cli.main(["doctor", str(workdir), config, "--config.mesh.data=2"]) == 1
    (failed,) = [x for x in capsys.readouterr().out.splitlines() if x[:4] == "FAIL"]
    assert failed[6:].startswith("mesh ")
    path.write_text("{")
    assert cli.main(["doctor", str(workdir)]) == 1
    (failed,) = [x for x in capsys.readouterr().out.splitlines() if x[:4] == "FAIL"]
    assert failed[6:].startswith("config.json ")


def test_what_is_not_prepared_is_said_and_not_made(
    tiny_config: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tiny_config().to_dict()
    values["data"]["directory"] = str(tmp_path / "none")
    path = write_config(tmp_path / "config.json", values)
    assert cli.main(["doctor", f"--config={path}"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x[6:11] == "data "]
    assert "run bert-jax prepare" in line
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{tmp}/none"], "must be the folder of a run"),
        (["--picture=a.png"], "give a workdir or --config"),
        (["--config=tiny_cpu", "--picture=a.svg"], "must end in .png"),
        (["--config=tiny_cpu", "--config.train.num_stpes=1"], "train.num_steps"),
        (["--config=text_mini:{tmp}/none/*.txt"], "matches no file"),
    ],
)
def test_mistakes_are_told_without_jax(
    arguments: list[str], told: str, tmp_path: Path, run_python: Any
) -> None:
    code = (
        "import sys; from bert_jax.cli import main; code = main(sys.argv[1:]); "
        "print('jax' in sys.modules); sys.exit(code)"
    )
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    done = run_python("-c", code, "doctor", *given, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert told in line
    assert done.stdout.splitlines()[-1] == "False"
    assert list(tmp_path.iterdir()) == []
