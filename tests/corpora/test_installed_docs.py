"""The corpus of installed documentation: no copies, no leak, the same every time."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from bert_jax.corpora import installed_docs
from bert_jax.corpora.documentation import Texts
from bert_jax.corpora.installed_docs import (
    Module,
    collect_modules,
    drop_shared,
    fingerprint,
    split_by_distribution,
)

ADJECTIVES = ["small", "large", "green", "quiet", "early", "broken", "simple", "modern"]
NOUNS = ["house", "river", "table", "window", "garden", "teacher", "letter", "village"]


def sentence(number: int) -> str:
    """A sentence of its own for each number below 4,096."""
    a, b, c, d = (number // 8**k % 8 for k in range(4))
    return (
        f"The {ADJECTIVES[a]} {NOUNS[b]} is behind the {ADJECTIVES[c]} {NOUNS[d]}, "
        "and this is all that there is to be said of it."
    )


def module(distribution: str, *numbers: int) -> Module:
    return Module(distribution, f"{distribution}.m", tuple(map(sentence, numbers)))


def test_paragraphs_stand_once_in_the_whole_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def standard() -> list[Texts]:
        return [Texts("python", "a", tuple(sentence(i) for i in range(5)))]

    def of_distribution(name: str, found: object) -> list[Texts]:
        copies = tuple(sentence(i).upper().replace("THE", "The", 1) for i in range(5))
        same_title = [Texts(name, "b", (sentence(i), sentence(i + 1))) for i in (10, 12)]
        return [Texts(name, "copy", (sentence(3), *copies[:1], sentence(9))), *same_title]

    monkeypatch.setattr(installed_docs, "standard_library_texts", standard)
    monkeypatch.setattr(installed_docs, "distribution_texts", of_distribution)
    monkeypatch.setattr(installed_docs, "installed_distributions", lambda: {"x": None})
    calls: list[tuple[str, int, int]] = []
    modules, notes = collect_modules(lambda *call: calls.append(call))
    paragraphs = [p for m in modules for p in m.paragraphs]
    assert len(paragraphs) == len({installed_docs.normalized(p) for p in paragraphs})
    assert [m.title for m in modules] == ["a", "b", "b (2)"]
    assert notes["copied_paragraphs"] >= 1
    assert notes["short_documents"] == 1
    assert [done for _, done, _ in calls] == [0, 1, 2]


def test_whole_distributions_are_held_out() -> None:
    modules = [module("python", *range(500))]
    modules += [module(f"d{i}", *range(1000 + 10 * i, 1010 + 10 * i)) for i in range(50)]
    train, held_out = split_by_distribution(modules, 0.05)
    names = {m.distribution for m in held_out}
    assert names.isdisjoint(m.distribution for m in train)
    assert "python" not in names
    share = sum(m.num_characters for m in held_out) / sum(m.num_characters for m in modules)
    assert 0.05 <= share <= 0.1
    assert split_by_distribution(modules, 0.05) == (train, held_out)


def test_a_large_distribution_is_held_out_only_if_it_must_be() -> None:
    modules = [module("python", *range(500)), module("large", *range(1000, 1400))]
    small = [module(f"s{i}", *range(2000 + 20 * i, 2020 + 20 * i)) for i in range(5)]
    _, held_out = split_by_distribution(modules + small, 0.05)
    assert "large" not in {m.distribution for m in held_out}
    _, alone = split_by_distribution(modules, 0.05)
    assert {m.distribution for m in alone} == {"large"}


def test_held_out_paragraphs_share_no_sentence_with_training() -> None:
    mixed = Module("v", "v", (f"{sentence(1)} {sentence(7)}", sentence(8), sentence(9)))
    kept, dropped = drop_shared([module("t", 1, 2, 3)], [mixed, module("w", 2, 3)])
    assert dropped == 3
    assert [m.paragraphs for m in kept] == [(sentence(8), sentence(9))]


def test_fingerprint_depends_on_versions_and_fraction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = fingerprint(0.02)
    assert fingerprint(0.02) == before
    assert fingerprint(0.03) != before
    monkeypatch.setattr(installed_docs, "installed_versions", lambda: {"python": "3.99"})
    assert fingerprint(0.02) != before


SCRIPT = """
import hashlib, json, sys, time
from bert_jax.corpora.installed_docs import collect_modules, split_by_distribution
start = time.process_time()
modules, notes = collect_modules(None)
train, held_out = split_by_distribution(modules, 0.02)
print(json.dumps({
    "digest": hashlib.sha256(repr((train, held_out)).encode()).hexdigest(),
    "train": sum(m.num_characters for m in train),
    "held_out": sum(m.num_characters for m in held_out),
    "seconds": time.process_time() - start,
    "imported": sorted({"jax", "tensorflow", "scipy", "torch"} & set(sys.modules)),
}))
"""


@pytest.mark.slow
def test_the_real_corpus_is_large_deterministic_and_imports_nothing(
    run_python: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
    runs = [
        json.loads(
            run_python("-c", SCRIPT, env={"PYTHONHASHSEED": seed}, timeout=600).stdout
        )
        for seed in ("1", "2")
    ]
    assert runs[0]["digest"] == runs[1]["digest"]
    assert runs[0]["train"] > 3_000_000
    assert runs[0]["held_out"] > 0.02 * runs[0]["train"]
    assert runs[0]["imported"] == []
