"""What a configuration learns: held-out loss and accuracy beside two baselines, kept.

    python benchmarks/learning.py --config=tiny_cpu --workdir=runs/tiny_cpu
    python benchmarks/learning.py --config='text_mini:/texts/*.gz' --workdir=runs/mini

Runs `bert-jax pretrain` (the same line again resumes it) and writes
`benchmarks/results/learning-NAME.json`, NAME being that of the workdir: commit, machine,
versions, configuration without its folders, seconds, and the metrics of the trained
model, of the untrained one and of word frequencies, all on the same masked words.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import circumstances, save_result

from bert_jax.report.metrics_file import read_metrics


def main() -> int:
    """Trains, then collects; returns the exit code."""
    workdir = next(
        Path(argument.partition("=")[2])
        for argument in sys.argv[1:]
        if argument.startswith("--workdir=")
    )
    start = time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "bert_jax", "pretrain", *sys.argv[1:]]
    ).returncode
    if code:
        return code
    rows = read_metrics(workdir)
    last = max(row["step"] for row in rows)
    by_split = {(row["step"], row.get("split", "train")): row for row in rows}
    model, unigram = by_split[last, "eval"], by_split[last, "unigram"]
    result = {
        "config": _config(workdir),
        **circumstances(("jax", "flax", "optax")),
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "steps": last,
        "held_out": model,
        "untrained": by_split[0, "eval"],
        "unigram": unigram,
        "nats_below_unigram": unigram["mlm_loss"] - model["mlm_loss"],
    }
    print(save_result(f"learning-{workdir.name}", result))
    return 0


def _config(workdir: Path) -> dict[str, Any]:
    """The configuration, without where things lie on this machine."""
    config: dict[str, Any] = json.loads((workdir / "config.json").read_text())
    config["data"]["directory"] = ""
    for source in config["data"]["sources"]:
        source["path"] = "/".join(Path(source["path"]).parts[-2:])
    return config


if __name__ == "__main__":
    sys.exit(main())
