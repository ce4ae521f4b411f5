"""What is compiled for TPUs: shipped configurations, slices, and how the test calls it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "tpu.json"
BFLOAT16 = "--config.train.dtype=bfloat16"


def shipped(name: str, rows: int, *more: str) -> tuple[str, ...]:
    """A configuration for accelerators with a global batch of so many rows."""
    batch = f"--config.train.global_batch_size={rows}"
    return (f"--config={name}", BFLOAT16, batch, *more)


SHARDED = ("--config.mesh.data=1", "--config.mesh.fsdp=-1")
TENSOR = ("--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2")

# Accumulation, layers computed again, gradients in bfloat16, and rows divided, in one.
TURNS = (
    "--config.mesh.data=2",
    "--config.mesh.sequence=2",
    "--config.mesh.tensor=2",
    "--config.train.micro_batch_size=2",
    "--config.train.remat=full",
    "--config.train.gradient_dtype=bfloat16",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A configuration on a slice; the deep ones take long and run with the slow tests."""

    device: str
    arguments: tuple[str, ...]
    is_deep: bool = False


# Every shipped configuration -> rows on each chip.
ROWS_PER_CHIP = {
    "tiny_cpu": 2,
    "text_mini": 2,
    "text_mini_len512": 1,
    "wiki_books_base_len128": 32,
    "wiki_books_base_len512": 8,
    "wiki_books_large_len128": 8,
    "wiki_books_large_len512": 2,
}
# Slice -> chips.
SLICES = {"v5e-1": 1, "v5e-8": 8, "v4-8": 4, "v5p-8": 4, "v6e-4": 4}
# What is compiled each time, of the configurations as they are: each slice once at least.
_ALWAYS = {
    "tiny_cpu on v5e-1",
    "tiny_cpu on v5e-8",
    "text_mini on v5e-1",
    "text_mini on v4-8",
    "text_mini on v5p-8",
    "text_mini on v6e-4",
    "wiki_books_base_len128 on v5e-1",
}


def _as_shipped(name: str, rows_per_chip: int, device: str, num_chips: int) -> Case:
    """A configuration with a copy of the model on each chip, as its `mesh` says."""
    argument = ":/texts" if name.startswith("text_mini") else ""
    arguments = shipped(f"{name}{argument}", rows_per_chip * num_chips)
    return Case(f"tpu:{device}", arguments, is_deep=f"{name} on {device}" not in _ALWAYS)


BASE, LARGE = "wiki_books_base_len128", "wiki_books_large_len128"
CASES = {
    f"{name} on {device}": _as_shipped(name, rows, device, num_chips)
    for name, rows in ROWS_PER_CHIP.items()
    for device, num_chips in SLICES.items()
} | {
    "base sharded": Case("tpu:v5e-8", shipped(BASE, 256, *SHARDED)),
    "tiny in turns": Case("tpu:v5e-8", ("--config=tiny_cpu", *TURNS)),
    "base on three axes": Case("tpu:v5e-8", shipped(BASE, 256, *TENSOR), is_deep=True),
    "large sharded": Case("tpu:v5e-8", shipped(LARGE, 64, *SHARDED), is_deep=True),
    "large on a pod": Case("tpu:v5e-256", shipped(LARGE, 4096, *SHARDED), is_deep=True),
    "large on v4-128": Case("tpu:v4-128", shipped(LARGE, 1024), is_deep=True),
}


def plan(
    run_python: Callable[..., Any], device: str, *arguments: str, timeout: float = 560
) -> dict[str, Any]:
    """What `bert-jax plan --json` prints, with nothing from an earlier compilation."""
    done = run_python(
        "-m",
        "bert_jax",
        "plan",
        f"--device={device}",
        "--json",
        *arguments,
        env={"JAX_COMPILATION_CACHE_DIR": "", "JAX_ENABLE_COMPILATION_CACHE": "false"},
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["source"] == "tpu-compiler", "needs the extra tpu"
    return found


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Of a plan, what the golden file keeps."""
    kept = {name: found[name] for name in ("argument_bytes", "temporary_bytes", "fits")}
    kept["sent_bytes"] = {
        kind: traffic["sent_bytes"]
        for kind, traffic in found["collectives"].items()
        if traffic["count"]
    }
    return kept
