"""Times tokenizing alone: ours, and the library behind it on the same sentences.

    python benchmarks/tokenizer_speed.py VOCAB TEXT

TEXT has a sentence a line. Prints JSON: tokens, and seconds of CPU of each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bert_jax.text.rust_backed import RustBacked
from bert_jax.text.tokenizer import load_tokenizer

# As many as a megabyte of text has.
SENTENCES_PER_CALL = 8000


def main(vocab: Path, text: Path) -> dict[str, Any]:
    """Encodes the sentences twice."""
    sentences = [line for line in text.read_text().splitlines() if line]
    tokenizer = load_tokenizer(vocab)

    def by_the_library(texts: Sequence[str]) -> Any:
        return RustBacked.encode_batch(tokenizer, texts)  # type: ignore[arg-type]

    ours, tokens = timed(tokenizer.encode_batch, sentences)
    library, same = timed(by_the_library, sentences)
    assert same == tokens
    return {"tokens": tokens, "seconds": ours, "library_seconds": library}


def timed(
    encode: Callable[[Sequence[str]], Any], texts: Sequence[str]
) -> tuple[float, int]:
    """Seconds of CPU, and the number of ids."""
    start, tokens = time.process_time(), 0
    for first in range(0, len(texts), SENTENCES_PER_CALL):
        tokens += len(encode(texts[first : first + SENTENCES_PER_CALL])[0])
    return time.process_time() - start, tokens


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
