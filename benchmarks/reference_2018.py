"""Times google-research/bert's create_pretraining_data.py, without its TFRecord writing.

    python benchmarks/reference_2018.py REFERENCE VOCAB TEXT [LENGTH]

REFERENCE is a folder with create_pretraining_data.py and tokenization.py, in it or in
bert/, such as `pip download --no-deps bert-tensorflow==1.0.1` gives (unzip the wheel).
TensorFlow and six need not be installed: what the code takes of them when it makes
instances is put in their place. TEXT has a sentence a line and blank lines between
documents. Prints JSON: seconds, and those of tokenizing alone, tokens, instances.
"""

from __future__ import annotations

import functools
import importlib
import json
import random
import sys
import time
import types
from pathlib import Path
from typing import Any

PREDICTIONS = {128: 20, 512: 80}


def main(reference: Path, vocab: str, text: str, length: int = 128) -> dict[str, Any]:
    """Makes the instances of one copy of the text."""
    create, tokenization = load(reference)
    tokenizer = tokenization.FullTokenizer(vocab_file=vocab, do_lower_case=True)
    tokens, tokenizing = 0, 0.0
    tokenize = tokenizer.tokenize

    def counted(line: str) -> list[str]:
        nonlocal tokens, tokenizing
        begun = time.perf_counter()
        found: list[str] = tokenize(line)
        tokenizing += time.perf_counter() - begun
        tokens += len(found)
        return found

    tokenizer.tokenize = counted
    start, cpu_start = time.perf_counter(), time.process_time()
    instances = create.create_training_instances(
        [text],
        tokenizer,
        max_seq_length=length,
        dupe_factor=1,
        short_seq_prob=0.1,
        masked_lm_prob=0.15,
        max_predictions_per_seq=PREDICTIONS[length],
        rng=random.Random(12345),
    )
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "tokenizing_seconds": tokenizing,
        "tokens": tokens,
        "instances": len(instances),
    }


def load(reference: Path) -> tuple[Any, Any]:
    """The two modules of 2018, on stand-ins for TensorFlow and six."""
    flags = types.SimpleNamespace(FLAGS=types.SimpleNamespace(do_whole_word_mask=False))
    for name in ("string", "bool", "integer", "float"):
        setattr(flags, f"DEFINE_{name}", lambda *arguments: None)
    gfile = types.SimpleNamespace(GFile=functools.partial(open, encoding="utf-8"))
    tensorflow: Any = types.ModuleType("tensorflow")
    tensorflow.flags, tensorflow.gfile = flags, gfile
    six: Any = types.ModuleType("six")
    six.PY2, six.PY3 = False, True
    sys.modules.update(tensorflow=tensorflow, six=six)
    sys.path.insert(0, str(reference))
    package = "bert." if source_file(reference).parent != reference else ""
    return (
        importlib.import_module(f"{package}create_pretraining_data"),
        importlib.import_module(f"{package}tokenization"),
    )


def source_file(reference: Path) -> Path:
    """Where create_pretraining_data.py is."""
    folder = reference / "bert" if (reference / "bert").is_dir() else reference
    return folder / "create_pretraining_data.py"


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(main(Path(given[0]), given[1], given[2], *map(int, given[3:]))))
