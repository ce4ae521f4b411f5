"""The compilation cache: what one process has compiled, the next one finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

COMPILE = """
import sys
from pathlib import Path
from bert_jax.parallel.devices import use_compilation_cache
use_compilation_cache(Path(sys.argv[1]))
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
jax.jit(lambda x: x * 3 + 1)(jax.numpy.ones(7)).block_until_ready()
print(any(name.endswith("cache_hits") for name in events))
"""


@pytest.mark.parametrize("chosen", [False, True])
def test_the_next_process_finds_what_was_compiled(
    chosen: bool, tmp_path: Path, run_python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, users = tmp_path / "ours", tmp_path / "users"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    if chosen:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(users))
    found = [run_python("-c", COMPILE, str(ours)).stdout.strip() for _ in range(2)]
    assert found == ["False", "True"]
    assert [path.name for path in tmp_path.iterdir()] == ["users" if chosen else "ours"]
