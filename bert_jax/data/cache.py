"""The cache: what can be made again, in one folder of the user's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_root() -> Path:
    """bert_jax/ under $BERT_JAX_CACHE, else $XDG_CACHE_HOME, else ~/.cache."""
    for variable in ("BERT_JAX_CACHE", "XDG_CACHE_HOME"):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / "bert_jax"
    return Path.home() / ".cache" / "bert_jax"


def is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which is made if need be; found by trying."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
