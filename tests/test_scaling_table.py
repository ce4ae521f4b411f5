"""The table of docs/scaling.md is the one that its benchmark has kept."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_table_is_what_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    scaling = importlib.import_module("scaling")
    kept = json.loads((ROOT / "benchmarks" / "results" / "scaling.json").read_text())
    lines = scaling.table(kept["rows"])
    assert len(lines) == 2 + len(scaling.ROWS)
    assert "\n".join(lines) in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
