"""What BERT-base and BERT-large need from 1 to 4,096 chips, by the TPU compiler, kept.

    python benchmarks/scaling.py

Needs the extra `tpu` and no chip. Asks `bert-jax plan` for each row of the table, writes
`benchmarks/results/scaling.json` after each (rows that this version of the compiler has
answered are not asked again; --again asks all), and the tables of `docs/scaling.md`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from record import RESULTS, circumstances

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- table of benchmarks/scaling.py -->", "<!-- end of the table -->"
KEPT = (
    "num_chips",
    "compiler",
    "rows_per_device",
    "accumulation_steps",
    "argument_bytes",
    "temporary_bytes",
    "peak_bytes",
    "fits",
    "compile_seconds",
    "seconds_per_step",
    "compute_seconds",
    "communication_seconds",
)


class Row(NamedTuple):
    """One line of the table: a model on a slice, and how its mesh is laid."""

    size: str
    length: int
    device: str
    rows: int
    mesh: tuple[tuple[str, int], ...]
    at_once: int | None = None  # rows that a chip computes at once

    @property
    def name(self) -> str:
        """The row in words: the key that its figures are kept under."""
        axes = ", ".join(f"{axis} {size}" for axis, size in self.mesh)
        turns = "" if self.at_once is None else f", {self.at_once} at once"
        start = f"{self.size}, {self.length} tokens, {self.device}, {axes}"
        return f"{start}, {self.rows} rows{turns}"


def row(
    size: str,
    length: int,
    device: str,
    rows: int,
    at_once: int | None = None,
    **mesh: int,
) -> Row:
    """A row; `rows` of the global batch, `at_once` of them on a chip in each turn."""
    return Row(size, length, device, rows, tuple(mesh.items()), at_once)


ROWS = (
    row("base", 128, "v5e-1", 32, data=1),
    row("base", 128, "v5e-8", 256, data=8),
    row("base", 128, "v5e-8", 256, fsdp=8),
    row("base", 128, "v5e-8", 256, data=2, tensor=4),
    row("base", 128, "v5e-8", 256, data=4, sequence=2),
    row("base", 128, "v5e-64", 2048, data=64),
    row("base", 128, "v5e-256", 8192, data=256),
    row("base", 128, "v4-2048", 16384, data=1024),
    row("base", 128, "v4-8192", 32768, data=4096),
    row("large", 128, "v5e-1", 8, data=1),
    row("large", 128, "v5e-8", 64, data=8),
    row("large", 128, "v5e-8", 64, fsdp=8),
    row("large", 128, "v5e-8", 64, data=2, tensor=4),
    row("large", 512, "v5e-8", 16, fsdp=8),
    row("large", 512, "v5e-8", 16, data=2, fsdp=2, sequence=2),
    row("large", 128, "v5e-256", 4096, data=32, fsdp=8),
    row("large", 128, "v5e-256", 4096, fsdp=256),
    row("large", 512, "v4-128", 3072, at_once=12, data=64),
    row("large", 512, "v4-2048", 4096, data=1024),
    row("large", 512, "v4-8192", 12288, data=4096),
)


def plan(row: Row) -> dict[str, Any]:
    """What `bert-jax plan` says of a row."""
    mesh = [f"--config.mesh.{axis}={size}" for axis, size in row.mesh]
    if "data" not in dict(row.mesh):
        mesh.append("--config.mesh.data=1")
    if row.at_once is not None:
        mesh.append(f"--config.train.micro_batch_size={row.at_once}")
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "bert_jax", "plan", "--json", "--no-largest"),
            f"--config=wiki_books_{row.size}_len{row.length}",
            "--config.train.dtype=bfloat16",
            f"--config.train.global_batch_size={row.rows}",
            f"--device=tpu:{row.device}",
            *mesh,
        ],
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{row.name}: {done.stderr[-1000:]}")
    found = json.loads(done.stdout)
    assert found["source"] == "tpu-compiler", "needs the extra tpu"
    sent = {
        kind: traffic["sent_bytes"]
        for kind, traffic in (found["collectives"] or {}).items()
        if traffic["count"]
    }
    return {**{name: found[name] for name in KEPT}, "sent_bytes": sent}


def table(kept: dict[str, Any]) -> list[str]:
    """The rows as Markdown; GB and MB are decimal, of one chip."""
    lines = [
        "| model, tokens | slice | chips | mesh | rows a chip | arguments | peak | "
        "sent in a step | step: products + sent | compiled in |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if row.name not in kept:
            continue
        found = kept[row.name]
        mesh = ", ".join(f"{axis} {size}" for axis, size in row.mesh)
        sent = ", ".join(f"{n / 1e6:,.0f} MB {k}" for k, n in found["sent_bytes"].items())
        peak = f"{found['peak_bytes'] / 1e9:.2f} GB"
        lines.append(
            f"| {row.size}, {row.length} | {row.device} | {found['num_chips']:,} | {mesh} "
            f"| {_rows(found)} | {found['argument_bytes'] / 1e9:.2f} GB "
            f"| {peak if found['fits'] else f'**{peak}: does not fit**'} | {sent or '–'} "
            f"| {found['compute_seconds'] * 1e3:.0f} + "
            f"{found['communication_seconds'] * 1e3:.0f} ms "
            f"| {found['compile_seconds']:.0f} s |"
        )
    return lines


def _rows(found: dict[str, Any]) -> str:
    turns = found["accumulation_steps"]
    return f"{found['rows_per_device']}" + (f" in {turns} turns" if turns > 1 else "")


def write_document(kept: dict[str, Any]) -> None:
    """Puts the table in its place."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(table(kept))
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Asks for what is missing, and keeps it."""
    path = RESULTS / "scaling.json"
    result = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    known = {row.name for row in ROWS}
    result["rows"] = {name: r for name, r in result["rows"].items() if name in known}
    if "--again" in sys.argv:
        result["rows"] = {}
    for row in ROWS:
        if row.name in result["rows"]:
            continue
        found = plan(row)
        same = {
            name: kept
            for name, kept in result["rows"].items()
            if kept["compiler"] == found["compiler"]
        }
        result = {**circumstances(("jax", "libtpu")), "rows": {**same, row.name: found}}
        print(row.name, found, flush=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_document(result["rows"])


if __name__ == "__main__":
    main()
