"""Names of the Hugging Face Hub → folders of the cache of `huggingface_hub`.

A name is NAME or OWNER/NAME, and behind an @ perhaps a branch, a tag or a commit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?")
_DESCRIPTION = (
    "config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "SHA256SUMS",
    # How sentence-transformers makes its vectors.
    "modules.json",
    "sentence_bert_config.json",
    "*_Pooling/config.json",
)
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")


def is_hub_name(path: str) -> bool:
    """Whether `path` can be the name of a model on the Hub."""
    return _NAME.fullmatch(path) is not None


def hub_folder(name: str) -> Path:
    """The folder of a model of the Hub, fetched into the cache where it is not there yet.

    Weights are fetched as safetensors; as `pytorch_model.bin` only where there are none.
    With HF_HUB_OFFLINE=1 the cache alone is used.

    Raises:
        ValueError: `huggingface_hub` is not installed, there is no such model, or no
            network and it is not in the cache.
    """
    try:
        from huggingface_hub import errors
    except ImportError:
        raise ValueError(
            f"{name} is not a local folder, and for names of the Hugging Face Hub the "
            "package huggingface_hub is missing; pip install 'bert_jax[hub]'"
        ) from None
    # The library's errors are made of those of its HTTP client and of the system.
    causes = cast(tuple[type[Exception], ...], errors.HfHubHTTPError.__bases__)
    try:
        folder = _fetch(name, [*_DESCRIPTION, *_SAFETENSORS, "model-*.safetensors"])
        if not any((folder / file).exists() for file in _SAFETENSORS):
            folder = _fetch(name, ["pytorch_model*"])
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ValueError(
            f"{name} is neither a local folder nor a public model of the Hugging Face Hub; "
            "check the spelling, or log in with `hf auth login` if it is private"
        ) from None
    except causes as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name} is not a local folder, and the Hugging Face Hub does not give it "
            f"({type(error).__name__}: {reason[:120]}); where there is network, run "
            f"`hf download {name}`, and bring the folder or the cache (HF_HOME) here"
        ) from None
    return folder


def _fetch(name: str, patterns: list[str]) -> Path:
    """The folder with those of the files that the model has.

    A cache that another program filled may lack some; whether that matters is seen when
    they are read.
    """
    from huggingface_hub import errors, snapshot_download

    try:
        model, _, revision = name.partition("@")
        folder = snapshot_download(
            model, revision=revision or None, allow_patterns=patterns
        )
        return Path(folder)
    except errors.LocalEntryNotFoundError as error:
        if hasattr(error, "snapshot_path"):
            return Path(error.snapshot_path)
        raise
