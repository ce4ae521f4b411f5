"""What tests have worker processes do; in a module that those can import by its name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np


class Note:
    """A stage that writes the number of its process, and ends it abruptly at one item."""

    def __init__(self, folder: Path, deadly: int = -1):
        self.folder, self.deadly = folder, deadly

    def marker(self, item: int) -> Path:
        return self.folder / str(item)

    def __call__(self, item: int) -> None:
        if item == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        self.marker(item).write_text(str(os.getpid()))


def leave_note(path: Path) -> None:
    path.write_text(str(os.getpid()))


def refuse(message: str) -> None:
    raise ValueError(message)


def end_abruptly() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Numbered:
    """Makes batches that are their numbers; hangs, dies or fails at one of them.

    Args:
        folder: where workers say who they are.
        trouble: what happens at batch `at`.
        at: the batch.
    """

    def __init__(self, folder: Path, trouble: str = "", at: int = -1):
        self._folder, self._trouble, self._at = folder, trouble, at

    def __call__(self, step: int) -> np.ndarray:
        facts = (
            f"{os.environ.get('JAX_PLATFORMS')} {multiprocessing.get_start_method(True)}"
        )
        (self._folder / str(os.getpid())).write_text(facts)
        if step == self._at and self._trouble == "hang":
            time.sleep(60)
        if step == self._at and self._trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self._at and self._trouble == "fail":
            raise ValueError("batch 6 must be sound; mend it")
        return np.array([step])
