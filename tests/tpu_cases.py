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
    return (f"--config=wiki_books_{name}", BFLOAT16, batch, *more)


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


CASES = {
    "tiny": Case("tpu:v5e-1", ("--config=tiny_cpu",)),
    "mini": Case("tpu:v5e-1", ("--config=text_mini:/texts",)),
    "tiny-in-turns": Case("tpu:v5e-8", ("--config=tiny_cpu", *TURNS)),
    "mini-512": Case("tpu:v5e-1", ("--config=text_mini_len512:/texts",), True),
    "base-one-chip": Case("tpu:v5e-1", shipped("base_len128", 32)),
    "base-sharded": Case("tpu:v5e-8", shipped("base_len128", 256, *SHARDED)),
    "base-v4": Case("tpu:v4-8", shipped("base_len128", 256), is_deep=True),
    "base-v5p": Case("tpu:v5p-8", shipped("base_len128", 256), is_deep=True),
    "base-v6e": Case("tpu:v6e-4", shipped("base_len128", 256), is_deep=True),
    "mini-v4": Case("tpu:v4-8", ("--config=text_mini:/texts",)),
    "mini-v5p": Case("tpu:v5p-8", ("--config=text_mini:/texts",)),
    "mini-v6e": Case("tpu:v6e-4", ("--config=text_mini:/texts",)),
    "base-512": Case("tpu:v5e-8", shipped("base_len512", 64), is_deep=True),
    "base-three-axes": Case("tpu:v5e-8", shipped("base_len128", 256, *TENSOR), True),
    "large": Case("tpu:v5e-8", shipped("large_len128", 64, *SHARDED), is_deep=True),
    "large-512": Case("tpu:v5e-8", shipped("large_len512", 16, *SHARDED), is_deep=True),
    "large-pod": Case("tpu:v5e-256", shipped("large_len128", 4096, *SHARDED), True),
    "large-v4-128": Case("tpu:v4-128", shipped("large_len128", 1024), is_deep=True),
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
