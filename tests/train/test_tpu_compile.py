"""Train steps compile for TPU chips, with the real compiler and without a chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tpu

SCRIPT = Path(__file__).with_name("compile_for_tpu.py")
V5E_BYTES = 16e9
BASE = ("--config=wiki_books_base_len128", "--config.train.dtype=bfloat16")


def compile_step(run_python: Any, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What `compile_for_tpu.py` prints; it needs a process whose JAX has not started."""
    done = run_python(
        str(SCRIPT),
        *arguments,
        cwd=tmp_path,
        # Nothing compiled before may stand in for what is compiled now.
        env={"JAX_COMPILATION_CACHE_DIR": "", "JAX_ENABLE_COMPILATION_CACHE": "false"},
        timeout=560,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["platform"] == "tpu"
    # Without donation the new state would lie beside the old one.
    assert found["donated"] > 0.99 * found["outputs"]
    found["bytes"] = found["arguments"] + found["temporaries"]
    print(f"\n{' '.join(arguments)}: {found['bytes'] / 1e9:.2f} GB a chip, {found}")
    return found


@pytest.mark.parametrize(
    ("arguments", "least", "most"),
    [
        (("--config=tiny_cpu",), 18e6, 0.2e9),
        (("--config=text_mini:/texts",), 50e6, 0.4e9),
        ((*BASE, "--config.train.global_batch_size=32"), 3e9, V5E_BYTES),
    ],
    ids=["tiny_cpu", "text_mini", "base"],
)
def test_one_chip(
    run_python: Any, tmp_path: Path, arguments: Any, least: float, most: float
) -> None:
    found = compile_step(run_python, tmp_path, "v5e:1x1", "1x1x1", *arguments)
    assert found["chips"] == 1
    assert least < found["bytes"] < most
    assert not any(found["collectives"].values())


def test_eight_chips_with_parameters_in_eight_parts(
    run_python: Any, tmp_path: Path
) -> None:
    mesh = ("--config.mesh.data=1", "--config.mesh.fsdp=8")
    rows = "--config.train.global_batch_size=256"
    found = compile_step(run_python, tmp_path, "v5e:2x4", "2x2x1", *BASE, rows, *mesh)
    assert found["chips"] == 8
    # Parameters and two moments in float32 of 110M parameters, an eighth on each chip.
    assert found["arguments"] < 1.33e9 / 8 * 1.1
    assert found["collectives"]["all-gather"] > 0
    # 32 rows a chip, as on the one chip above: no chip computes another's rows.
    assert found["bytes"] < 5.5e9


def test_turns_and_parts_of_rows(run_python: Any, tmp_path: Path) -> None:
    """Accumulation, layers computed again, and rows divided, in one step."""
    found = compile_step(
        run_python,
        tmp_path,
        "v5e:2x4",
        "2x2x1",
        "--config=tiny_cpu",
        "--config.mesh.data=2",
        "--config.mesh.sequence=2",
        "--config.mesh.tensor=2",
        "--config.train.micro_batch_size=2",
        "--config.train.remat=full",
        "--config.train.gradient_dtype=bfloat16",
    )
    assert found["chips"] == 8
    assert found["collectives"]["all-gather"] > 0  # keys and values
    assert found["collectives"]["all-reduce"] > 0
    assert found["bytes"] < 0.2e9
