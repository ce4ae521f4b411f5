"""Eight CPU devices, a shared compilation cache, and the fixtures that all tests use."""

from __future__ import annotations

import getpass
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Before JAX starts, here and in every process that a test starts.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# Threads of XLA, which takes one a device. A device may wait in several collectives at
# once, each on a thread: with 8 of them meshes of three axes hung on a busy machine.
os.environ["NPROC"] = "24"
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(
        pathlib.Path(tempfile.gettempdir()) / f"bert_jax_tests_{getpass.getuser()}" / "jax"
    ),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


@pytest.fixture(scope="session")
def repository() -> pathlib.Path:
    """The root of the checkout that the tests stand in."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Real data that is not part of the checkout; tests that need it skip without it."""
    place = pathlib.Path(
        os.environ.get("BERT_JAX_TEST_DATA", ROOT.parent / "shared" / "data")
    )
    if not place.is_dir():
        pytest.skip(
            f"no test data: {place} is absent; BERT_JAX_TEST_DATA names another place"
        )
    return place


RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Runs `python ARGUMENTS…` in a fresh process that finds the bert_jax under test."""
    import bert_jax

    package_parent = str(pathlib.Path(bert_jax.__file__).parent.parent)

    def run(
        *arguments: str,
        cwd: pathlib.Path | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": package_parent, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
