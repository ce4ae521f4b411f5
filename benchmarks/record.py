"""What a benchmark keeps beside its figures: commit, machine, versions; and where."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_NO_RESULTS = (":(top)", ":(top,exclude)benchmarks/results")


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """Commit, machine and the versions of `packages`."""
    return {
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def save_result(name: str, result: dict[str, Any]) -> Path:
    """Writes benchmarks/results/NAME.json; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def commit() -> str:
    """The commit of the checkout, with a + where more than results differs from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("+" if _git("diff", "--stat", "HEAD", "--", *_NO_RESULTS) else "")


def _git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
