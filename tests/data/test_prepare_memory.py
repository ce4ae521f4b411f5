"""Memory of preparing data does not grow with the corpus."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.vocabulary import train_tokenizer

# The constants that bound memory, made small so that a small corpus shows it; the corpus
# is read by another process, since what is measured is the most that this one ever used.
SCRIPT = """
import json, re, sys
from pathlib import Path
from bert_jax.config import Config
from bert_jax.corpora.sources import open_source
from bert_jax.data import near_duplicates, ranges
from bert_jax.data.prepare import cache_root, prepare
texts, tokenizer, directory, range_bytes = sys.argv[1:]
ranges.MIN_RANGE_BYTES = ranges.MAX_RANGE_BYTES = int(range_bytes)
near_duplicates.MAX_SHINGLES = 20_000
config = Config.from_dict({"data": {"sources": [{"name": "text_files", "path": texts}]},
                           "tokenizer": {"path": tokenizer}})
if directory:
    prepare(config, Path(directory), report=lambda *_: None, num_processes=1)
else:
    open_source(config.data.sources[0], config.data, cache_root() / "corpora")
# Not ru_maxrss: a child begins with that of the process that started it.
status = Path("/proc/self/status").read_text()
print(json.dumps(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024))
"""
MEGABYTES = {"small": 4, "large": 20}


def write_text(folder: Path, megabytes: int, words: list[str]) -> int:
    """Articles in files of about a megabyte; returns the bytes."""
    folder.mkdir()
    rng = random.Random(megabytes)
    size = 0
    for part in range(megabytes):
        articles = (
            f'<doc id="{part}-{i}" url="" title="Article {part} {i}">\n'
            + ". ".join(" ".join(rng.choices(words, k=10)) for _ in range(40))
            + "\n</doc>\n"
            for i in range(400)
        )
        size += (folder / f"wiki_{part:03d}").write_text("".join(articles))
    return size


@pytest.mark.slow
def test_peak_memory_does_not_follow_the_corpus(tmp_path, run_python):
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghiklmnoprstu", k=rng.randint(2, 9)))
        for _ in range(3000)
    ]
    tokenizer = TokenizerConfig(vocab_size=2000)
    train_tokenizer(tokenizer, [" ".join(words)] * 2).save(tmp_path / "tokenizer")

    def peak(name: str, range_bytes: int) -> int:
        result = 0
        for directory in ("", str(tmp_path / f"{name}-{range_bytes}")):
            process = run_python(
                "-c",
                SCRIPT,
                str(tmp_path / name / "*"),
                str(tmp_path / "tokenizer"),
                directory,
                str(range_bytes),
                env={"BERT_JAX_CACHE": str(tmp_path / "cache")},
                timeout=600,
            )
            assert process.returncode == 0, process.stderr
            result = json.loads(process.stdout)
        return result

    sizes = {
        name: write_text(tmp_path / name, size, words) for name, size in MEGABYTES.items()
    }
    growth = sizes["large"] - sizes["small"]
    assert peak("large", 500_000) - peak("small", 500_000) < growth / 2
    # Negative control: a shard that takes the whole corpus does make memory grow.
    assert peak("large", 10**9) - peak("small", 10**9) > growth
