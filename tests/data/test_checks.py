"""Checks of prepared data: healthy ones pass, and each damage fails its own check alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.corpora_by_hand import (
    config_of,
    made_up_documents,
    prepare_quietly,
    write_texts,
)

from bert_jax.config import Config
from bert_jax.data.checks import check_cache, check_data, check_vocabulary, in_bytes
from bert_jax.data.manifest import describe_files, load_manifest
from bert_jax.findings import Finding
from bert_jax.text.tokenizer import load_tokenizer

CHECKS = {
    "files",
    "settings",
    "vocabulary",
    "ids",
    "special ids",
    "unknown words",
    "tokens per word",
    "sentences",
    "documents",
    "duplicates",
    "next sentence",
    "epochs",
    "sequences",
    "padding",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A configuration and its prepared directory; not to be changed."""
    root = tmp_path_factory.mktemp("corpus")
    source = write_texts(root / "a.txt", made_up_documents(0, 120))
    config = config_of(source)
    prepare_quietly(config, root / "data")
    return config, root / "data"


@pytest.fixture
def copied(corpus, tmp_path) -> Path:
    """A copy of the directory, to be damaged."""
    return shutil.copytree(corpus[1], tmp_path / "data")


def with_values(config: Config, **sections: Any) -> Config:
    """The configuration with some fields of its sections replaced."""
    parts = {
        name: dataclasses.replace(getattr(config, name), **values)
        for name, values in sections.items()
    }
    return dataclasses.replace(config, **parts)


def examine(config: Config, directory: Path, **options: bool) -> list[Finding]:
    return list(check_data(config, directory, {}, **options))


def failed(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings if not finding.ok}


def named(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def test_a_healthy_directory_passes_and_stays_as_it_is(corpus):
    config, directory = with_values(corpus[0], train={"num_steps": 10}), corpus[1]
    before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    distributions: dict[str, Any] = {}
    findings = list(check_data(config, directory, distributions, verify_hashes=True))
    assert {finding.check for finding in findings} == CHECKS
    assert failed(findings) == set()
    after = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    assert before == {p: b for p, b in after.items() if "plans" not in p.parts}
    manifest = load_manifest(directory)
    counts = manifest.splits["train"]
    for name in ("sentences", "documents"):
        assert sum(distributions[name]["counts"]) == counts[name]
        assert distributions[name]["mean"] == counts["tokens"] / counts[name]
    assert json.loads(json.dumps(distributions)) == distributions


def write_tokens(directory: Path, number: int, start: int = 40, stop: int = 45) -> None:
    """Puts an id in the place of some of a training shard."""
    path = directory / "shards" / "train-00000.tokens.npy"
    tokens = np.load(path)
    tokens[start:stop] = number
    np.save(path, tokens)


def spread_unknown(directory: Path) -> None:
    path = directory / "shards" / "train-00000.tokens.npy"
    tokens = np.load(path)
    tokens[::20] = load_tokenizer(directory / "tokenizer").unk_id
    np.save(path, tokens)


def write_cls(directory: Path) -> None:
    write_tokens(directory, load_tokenizer(directory / "tokenizer").cls_id)


def copy_documents(directory: Path) -> None:
    """The second half of the first shard becomes its first half again."""
    shards = directory / "shards"
    tokens = np.load(shards / "train-00000.tokens.npy")
    sentences = np.load(shards / "train.sentence_offsets.npy")
    documents = np.load(shards / "train.document_offsets.npy")
    edges = sentences[documents]
    half = int(np.searchsorted(edges, len(tokens))) // 2
    stop = edges[half]
    tokens = np.concatenate([tokens[:stop], tokens[:stop]])
    first = sentences[: documents[half] + 1]
    rest = int(np.searchsorted(edges, len(np.load(shards / "train-00000.tokens.npy"))))
    moved = sentences[documents[rest] :] - sentences[documents[rest]] + 2 * stop
    np.save(shards / "train-00000.tokens.npy", tokens)
    np.save(
        shards / "train.sentence_offsets.npy",
        np.concatenate([first, first[1:] + stop, moved[1:]]),
    )
    np.save(
        shards / "train.document_offsets.npy",
        np.concatenate(
            [
                documents[: half + 1],
                documents[1 : half + 1] + documents[half],
                documents[rest + 1 :] - documents[rest] + 2 * documents[half],
            ]
        ),
    )


def cut_at_each_sentence(directory: Path) -> None:
    shards = directory / "shards"
    count = len(np.load(shards / "train.sentence_offsets.npy"))
    np.save(shards / "train.document_offsets.npy", np.arange(count, dtype=np.int64))


def exchange_tokenizer(directory: Path) -> None:
    """A vocabulary of the same size in which two entries have changed places."""
    path = directory / "tokenizer" / "vocab.txt"
    entries = path.read_text().splitlines()
    entries[-1], entries[-2] = entries[-2], entries[-1]
    path.write_text("\n".join(entries) + "\n")


def lose_a_control_token(directory: Path) -> None:
    path = directory / "tokenizer" / "vocab.txt"
    path.write_text(path.read_text().replace("[MASK]", "mask"))


def describe_anew(directory: Path) -> None:
    """The manifest says what is there, as if it had been prepared so."""
    manifest = load_manifest(directory)
    shards = directory / "shards"
    train = {
        "documents": len(np.load(shards / "train.document_offsets.npy")) - 1,
        "sentences": len(np.load(shards / "train.sentence_offsets.npy")) - 1,
        "tokens": int(np.load(shards / "train.sentence_offsets.npy")[-1]),
        "shards": manifest.splits["train"]["shards"],
    }
    sources = [{**manifest.sources[0], "train_documents": [0, train["documents"]]}]
    paths = [directory / name for name in manifest.files]
    dataclasses.replace(
        manifest,
        splits={**manifest.splits, "train": train},
        sources=sources,
        files=describe_files(directory, paths),
    ).save(directory)


# What is done to a directory whose manifest then says so, and the check that must fail.
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "an id beyond the vocabulary": (lambda d: write_tokens(d, 9000), "ids"),
    "a control token in the text": (write_cls, "special ids"),
    "unknown words": (spread_unknown, "unknown words"),
    "copies": (copy_documents, "duplicates"),
    "documents of one sentence": (cut_at_each_sentence, "next sentence"),
    "another tokenizer": (exchange_tokenizer, "vocabulary"),
    "a tokenizer without [MASK]": (lose_a_control_token, "vocabulary"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_damage_fails_its_own_check_alone(corpus, copied, damage):
    spoil, check = DAMAGE[damage]
    spoil(copied)
    describe_anew(copied)
    findings = examine(corpus[0], copied)
    assert failed(findings) == {check}
    assert named([f for f in findings if not f.ok], check).mend


def shorten(directory: Path) -> None:
    path = directory / "shards" / "train-00000.tokens.npy"
    path.write_bytes(path.read_bytes()[:-2])


def flip(directory: Path) -> None:
    path = directory / "shards" / "train-00000.tokens.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def miscount(directory: Path) -> None:
    manifest = load_manifest(directory)
    manifest.splits["train"]["shards"] -= 1
    manifest.save(directory)


@pytest.mark.parametrize(
    ("spoil", "verify"), [(shorten, False), (flip, True), (miscount, False)]
)
def test_files_that_are_not_those_of_the_manifest_end_the_checks(
    corpus, copied, spoil, verify
):
    spoil(copied)
    (finding,) = examine(corpus[0], copied, verify_hashes=verify)
    assert finding.check == "files" and not finding.ok
    assert "remove" in finding.mend and "bert-jax prepare" in finding.mend


def test_a_flipped_byte_is_not_seen_by_sizes(corpus, copied):
    flip(copied)
    assert "files" not in failed(examine(corpus[0], copied))


@pytest.mark.parametrize(
    ("section", "values", "check", "told"),
    [
        ("data", {"language": "de"}, "settings", "data.directory"),
        ("train", {"global_batch_size": 100_000}, "epochs", "train.global_batch_size"),
    ],
)
def test_each_mismatch_fails_its_own_check_alone(corpus, section, values, check, told):
    config, directory = corpus
    findings = examine(with_values(config, **{section: values}), directory)
    assert failed(findings) == {check}
    assert told in named(findings, check).mend


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"kind": "sentencepiece"}, "asks for another kind"),
        ({"vocab_size": 64}, "asks for fewer"),
    ],
)
def test_a_vocabulary_of_another_configuration(corpus, values, told):
    config, directory = corpus
    manifest, tokenizer = load_manifest(directory), load_tokenizer(directory / "tokenizer")
    assert check_vocabulary(config, manifest, tokenizer).state == "ok"
    finding = check_vocabulary(with_values(config, tokenizer=values), manifest, tokenizer)
    assert not finding.ok and told in finding.figure


def test_a_given_vocabulary_that_was_exchanged(corpus, copied):
    config, directory = corpus
    manifest, tokenizer = load_manifest(directory), load_tokenizer(directory / "tokenizer")
    given = with_values(config, tokenizer={"path": str(copied / "tokenizer")})
    assert check_vocabulary(given, manifest, tokenizer).ok
    exchange_tokenizer(copied)
    finding = check_vocabulary(given, manifest, tokenizer)
    assert not finding.ok and "has another" in finding.figure


def test_unknown_words_are_told_of_the_source_that_has_them(corpus, tmp_path):
    known = write_texts(tmp_path / "known.txt", made_up_documents(1, 40))
    greek = [  # half of the words
        [s.translate(str.maketrans("a", "α")) for s in document]
        for document in made_up_documents(2, 40)
    ]
    foreign = write_texts(tmp_path / "foreign.txt", greek)
    config = with_values(
        config_of(known, foreign, sequence_length=64),
        tokenizer={"path": str(corpus[1] / "tokenizer")},
    )
    prepare_quietly(config, tmp_path / "data")
    findings = examine(config, tmp_path / "data")
    first, second = [f for f in findings if f.check == "unknown words"]
    assert failed(findings) == {"unknown words"}
    assert first.ok and first.figure.startswith("data.sources[0] text_files: 0.000%")
    assert not second.ok and second.figure.startswith("data.sources[1] text_files: ")
    assert "tokenizer.path" in second.mend


def test_a_vocabulary_that_is_far_too_small_is_noted(corpus, tmp_path):
    texts = made_up_documents(3, 60)
    config = with_values(
        config_of(write_texts(tmp_path / "a.txt", texts)), tokenizer={"vocab_size": 64}
    )
    prepare_quietly(config, tmp_path / "data")
    finding = named(examine(config, tmp_path / "data"), "tokens per word")
    assert finding.state == "note" and "tokenizer.vocab_size" in finding.mend
    assert named(examine(*corpus), "tokens per word").state == "ok"


def test_the_cache_is_told_with_the_line_that_clears_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path))
    assert "not there yet" in check_cache().figure
    (tmp_path / "bert_jax" / "data" / "x").mkdir(parents=True)
    (tmp_path / "bert_jax" / "data" / "x" / "y").write_bytes(bytes(1300))
    figure = check_cache().figure
    assert "data 1.3 kB" in figure and f"rm -r '{tmp_path / 'bert_jax'}'" in figure
    assert [in_bytes(n) for n in (0, 999, 1.5e6, 2e12)] == [
        "0 B",
        "999 B",
        "1.5 MB",
        "2.0 TB",
    ]
