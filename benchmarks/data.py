"""What the data cost: preparing them, streaming them, padding, memory; kept.

    python benchmarks/data.py --reference=/tmp/bert_2018 --corpus='/tmp/mixed/wiki_*'

Parts, each of which can be measured alone (`--only=prepare,stream`):

    prepare    `bert-jax prepare` on one core, in a fresh process, against
               create_pretraining_data.py of 2018, in turn; with a vocabulary that is
               given, and once more training one
    tokenizer  tokenizing alone, and by the library behind it
    scaling    the same preparation on 1, 2, … cores
    stream     batches at lengths 128 and 512, without and with packing, on one core,
               beside what the fastest recorded training step takes; padding
    plan       packing 10⁸ sequences
    memory     `bert-jax prepare` on the texts of `--corpus` (see mixed_corpus.py)

Each part is written to benchmarks/results/data.json when it is done, with its commit and
machine. The same line again goes on: what was measured at this commit with these
arguments is not measured again, unless `--again`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from record import RESULTS, circumstances, save_result
from reference_2018 import source_file
from workbench import Bench, Figures, available_cores, speed

from bert_jax.data.files import file_sha256

PACKAGES = ("numpy", "tokenizers", "sentencex", "tensorflow-datasets", "array_record")
LENGTHS = (128, 512)
PACKING = 8
PLANNED_SEQUENCES = 10**8


def main() -> int:
    """Measures the parts that are asked for; returns the exit code."""
    args = parse_arguments()
    bench = Bench(args.work, texts=args.texts, vocabulary=args.vocabulary)
    path = RESULTS / "data.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    for name in args.only or PARTS:
        measure, options = PARTS[name]
        about = {
            **circumstances(PACKAGES),
            "arguments": {option: known_as(args, option) for option in options},
        }
        if not args.again and is_measured(result, name, about):
            print(f"{name}: measured before")
            continue
        print(f"{name} …", flush=True)
        figures = measure(bench, args)
        print(json.dumps(figures, indent=2), flush=True)
        result[name] = {**about, "figures": figures}
        save_result("data", result)
    return 0


def known_as(args: argparse.Namespace, option: str) -> Any:
    """An argument without where things lie; the code of 2018 by what it is."""
    value = getattr(args, option)
    if option == "reference" and value:
        return file_sha256(source_file(Path(value)))
    if option == "texts":
        return ["/".join(Path(path).parts[-2:]) for path in value]
    return "/".join(Path(value).parts[-2:]) if isinstance(value, str) else value


def is_measured(result: Figures, name: str, about: Figures) -> bool:
    """Whether the figures of a part are those of this commit and these arguments."""
    if name not in result or about["commit"].endswith("+"):
        return False
    return all(result[name][key] == value for key, value in about.items())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    shared = os.environ.get("BERT_JAX_TEST_DATA", "../shared/data")
    parser = argparse.ArgumentParser(description="What the data cost.")
    parser.add_argument(
        "--texts",
        nargs="+",
        default=[f"{shared}/wiki/*.gz", f"{shared}/books/*.gz"],
        help="globs of the text to prepare, one source each",
    )
    parser.add_argument(
        "--vocabulary", default=f"{shared}/vocab/bert-base-uncased-vocab.txt"
    )
    parser.add_argument("--reference", default="", help="folder of the code of 2018")
    parser.add_argument("--corpus", default="", help="glob of the text of part memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    parser.add_argument("--again", action="store_true")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "bert_jax_data_benchmark"
    )
    args = parser.parse_args()
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"--only={','.join(unknown)} must be of {', '.join(PARTS)}")
    return args


def measure_prepare(bench: Bench, args: argparse.Namespace) -> Figures:
    """Preparation on one core, and the reference in turn with it."""
    rounds = []
    sentences = bench.sentences()
    for number in range(args.rounds):
        figures: Figures = {}
        if args.reference:
            found = bench.child(
                "reference_2018.py", args.reference, args.vocabulary, sentences
            )
            tokens = found["tokens"]
            figures["reference"] = {
                "tokens": tokens,
                **speed(tokens, found["seconds"], found["cpu_seconds"]),
                "tokenizing_share": found["tokenizing_seconds"] / found["seconds"],
            }
        figures["ours"], _ = bench.prepare(args.texts, vocabulary=args.vocabulary)
        print(f"round {number}: {json.dumps(figures)}", flush=True)
        rounds.append(figures)
    with_training, _ = bench.prepare(args.texts, vocabulary="")
    return {
        "rounds": rounds,
        "times_reference": ratios(rounds, "seconds"),
        "times_reference_by_cpu": ratios(rounds, "cpu_seconds"),
        "with_vocabulary_training": with_training,
    }


def ratios(rounds: Sequence[Figures], key: str) -> Figures | str:
    """How many times faster than the reference on the same text, over the rounds."""
    if "reference" not in rounds[0]:
        return "no --reference was given"
    found = [r["reference"][key] / r["ours"][key] for r in rounds]
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}


def measure_tokenizer(bench: Bench, args: argparse.Namespace) -> Figures:
    """Tokenizing alone, on one core."""
    found = bench.child("tokenizer_speed.py", args.vocabulary, bench.sentences())
    return {
        "tokens": found["tokens"],
        "tokens_per_second": found["tokens"] / found["seconds"],
        "library_tokens_per_second": found["tokens"] / found["library_seconds"],
    }


def measure_scaling(bench: Bench, args: argparse.Namespace) -> Figures:
    """Preparation on 1, 2, 4, … cores, in turn."""
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n <= available_cores()]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(args.rounds):
        for count in counts:
            figures, _ = bench.prepare(
                args.texts, num_cores=count, vocabulary=args.vocabulary
            )
            seconds[count].append(figures["seconds"])
    one = statistics.median(seconds[1])
    return {
        f"{count} cores": {
            "seconds": found,
            "times_one_core": one / statistics.median(found),
        }
        for count, found in seconds.items()
    }


def measure_stream(bench: Bench, args: argparse.Namespace) -> Figures:
    """Batches of one epoch, on one core."""
    directory = bench.prepared()
    rows, fastest = {}, fastest_step()
    for length in LENGTHS:
        for packing in (1, PACKING):
            found = bench.child("stream_speed.py", directory, length, packing)
            rate = found["tokens"] / found["seconds"]
            rows[f"length {length}, packing {packing}"] = {
                "rows_per_second": found["rows"] / found["seconds"],
                "sequences_per_second": found["sequences"] / found["seconds"],
                **speed(found["tokens"], found["seconds"], found["cpu_seconds"]),
                "times_fastest_step": rate / fastest[0] if fastest else None,
                "padding": found["padding"],
            }
    name = f"{fastest[1]}: {fastest[0]:.0f} tokens/s" if fastest else "none recorded"
    return {"fastest_step": name, **rows}


def fastest_step() -> tuple[float, str] | None:
    """Tokens per second of the fastest training that results tell of, and which do."""
    found: list[tuple[float, str]] = []
    for path in RESULTS.glob("*.json"):
        if path.name != "data.json":
            rates = numbers_of(json.loads(path.read_text()), "tokens_per_second")
            found += [(rate, path.name) for rate in rates]
    return max(found) if found else None


def numbers_of(value: Any, key: str) -> list[float]:
    """All numbers that stand under `key`, however deep."""
    if isinstance(value, dict):
        here = [v for k, v in value.items() if k == key and isinstance(v, int | float)]
        return here + [n for v in value.values() for n in numbers_of(v, key)]
    return [n for v in value for n in numbers_of(v, key)] if isinstance(value, list) else []


def measure_plan(bench: Bench, args: argparse.Namespace) -> Figures:
    """Packing at the longest length."""
    return bench.child(
        "plan_speed.py", bench.prepared(), max(LENGTHS), PACKING, PLANNED_SEQUENCES
    )


def measure_memory(bench: Bench, args: argparse.Namespace) -> Figures | str:
    """The most memory of preparing the corpus, on all cores."""
    if not args.corpus:
        return "no --corpus was given"
    num_bytes = sum(Path(path).stat().st_size for path in glob(args.corpus))
    figures, ran = bench.prepare(
        [args.corpus],
        num_cores=available_cores(),
        vocabulary=args.vocabulary,
    )
    return {
        "corpus_bytes": num_bytes,
        "cores": available_cores(),
        "peak_memory_of_all_processes_bytes": ran.peak_sum_bytes,
        "peak_memory_of_one_process_bytes": ran.peak_single_bytes,
        **figures,
    }


# What is measured, and the arguments that decide the figures.
PARTS: dict[str, tuple[Callable[[Bench, argparse.Namespace], Any], tuple[str, ...]]] = {
    "prepare": (measure_prepare, ("texts", "vocabulary", "reference", "rounds")),
    "tokenizer": (measure_tokenizer, ("texts", "vocabulary")),
    "scaling": (measure_scaling, ("texts", "vocabulary", "rounds")),
    "stream": (measure_stream, ("texts", "vocabulary")),
    "plan": (measure_plan, ("texts", "vocabulary")),
    "memory": (measure_memory, ("corpus", "vocabulary")),
}


if __name__ == "__main__":
    sys.exit(main())
