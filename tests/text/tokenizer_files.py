"""Files of small tokenizers, written as others write them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.wordpiece import WordPieceTokenizer

WORDS = ["dog", "dóg", "Dog", "力", "##加", "力加", "run", "##s"]
# Letters enough that "Dog" does not make it a vocabulary with capitals.
ENTRIES = [*CONTROL_TOKENS, *WORDS, *"abcdefghijklm"]


def write(folder: pathlib.Path, **files: Any) -> pathlib.Path:
    """Files by their names without ending: text as it is, all else as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, str):
            (folder / f"{name}.txt").write_text(content, encoding="utf-8")
        else:
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def vocab(*more: str) -> str:
    return "\n".join([*ENTRIES, *more]) + "\n"


def described(**folding: Any) -> dict[str, Any]:
    """The content of a tokenizer.json of BERT's own."""
    made = WordPieceTokenizer(ENTRIES, **folding)
    return json.loads(made._backend.to_str())
