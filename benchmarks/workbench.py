"""Where the benchmarks of data work: the texts, prepared, and processes that are timed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import commit
from watched import Watched, run_python

from bert_jax.config import Config
from bert_jax.corpora.sources import open_source
from bert_jax.data.files import digest
from bert_jax.data.manifest import load_manifest
from bert_jax.text.sentences import split_sentences

HERE = Path(__file__).parent
Figures = dict[str, Any]


class Bench:
    """Runs what is measured, in one working folder for each commit and text.

    Args:
        work: where the folder is made.
        texts: globs of text files, one source each.
        vocabulary: path of the vocabulary that `prepared` uses.
    """

    def __init__(self, work: Path, *, texts: Sequence[str], vocabulary: str):
        self._texts, self._vocabulary = texts, vocabulary
        self._work = work / f"{commit()}-{digest([texts, vocabulary])}"
        self._work.mkdir(parents=True, exist_ok=True)

    def child(self, script: str, *arguments: object, num_cores: int = 1) -> Figures:
        """What a script beside this one prints."""
        command = [str(HERE / script), *map(str, arguments)]
        ran = run_python(command, num_cores=num_cores, output=self._work / "output.txt")
        figures: Figures = json.loads(ran.output.splitlines()[-1])
        return figures

    def prepare(
        self, texts: Sequence[str], *, num_cores: int = 1, vocabulary: str, keep: str = ""
    ) -> tuple[Figures, Watched]:
        """`bert-jax prepare` from nothing; figures that all parts want."""
        directory, cache = self._work / (keep or "prepared"), self._work / "cache"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
        config = Config.from_dict(
            {
                "data": {**text_sources(texts), "directory": str(directory)},
                "tokenizer": {"path": vocabulary},
            }
        )
        path = self._work / "config.json"
        path.write_text(config.to_json())
        ran = run_python(
            ["-m", "bert_jax", "prepare", f"--config={path}"],
            num_cores=num_cores,
            env={"BERT_JAX_CACHE": str(cache)},
            output=self._work / "output.txt",
        )
        splits = load_manifest(directory).splits
        tokens = sum(split["tokens"] for split in splits.values())
        shutil.rmtree(cache)
        if not keep:
            shutil.rmtree(directory)
        return {"tokens": tokens, **speed(tokens, ran.seconds, ran.cpu_seconds)}, ran

    def prepared(self) -> Path:
        """The texts, prepared with the given vocabulary."""
        directory = self._work / "kept"
        if not (directory / "manifest.json").exists():
            self.prepare(
                self._texts,
                num_cores=available_cores(),
                vocabulary=self._vocabulary,
                keep="kept",
            )
        return directory

    def sentences(self) -> Path:
        """The texts with a sentence a line and blank lines between documents."""
        path = self._work / "sentences.txt"
        if path.exists():
            return path
        data = Config.from_dict({"data": text_sources(self._texts)}).data
        draft = path.with_suffix(".tmp")
        with draft.open("w", encoding="utf-8") as file:
            for config in data.sources:
                source = open_source(config, data, self._work / "documents")
                for index in range(len(source)):
                    [document] = source.read(index, index + 1)
                    lines = split_sentences(document.text, data.language)
                    file.write("\n".join([*lines, "", ""]))
        draft.rename(path)
        return path


def text_sources(texts: Sequence[str]) -> Figures:
    """The part of a configuration that names globs of text files."""
    return {"sources": [{"name": "text_files", "path": path} for path in texts]}


def speed(tokens: int, seconds: float, cpu_seconds: float) -> Figures:
    """Times, and tokens per second of each."""
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "cpu_seconds": cpu_seconds,
        "tokens_per_cpu_second": tokens / cpu_seconds,
    }


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
