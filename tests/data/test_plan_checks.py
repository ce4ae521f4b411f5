"""What is told of an epoch is what its stream serves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from data.conftest import random_documents

from bert_jax.config import Config
from bert_jax.data.histograms import LengthHistogram, linear_edges
from bert_jax.data.manifest import load_manifest
from bert_jax.data.plan_checks import (
    check_epochs,
    check_next_sentence,
    check_rows,
    measure_rows,
    open_epoch,
    padding,
)
from bert_jax.data.shards import ShardSet
from bert_jax.data.stream import BatchStream
from bert_jax.data.text_checks import document_blocks

LENGTH = 64


def config_of(*, packing: int = 1, task: str = "nsp", **train: int) -> Config:
    return Config.from_dict(
        {
            "data": {"sequence_length": LENGTH, "packing": packing},
            "objective": {"sentence_task": task},
            "optim": {"warmup_steps": 0},
            "train": {"num_steps": 10, "global_batch_size": 16, **train},
        }
    )


@pytest.fixture
def directory(prepared):
    return prepared(random_documents(3, 200), random_documents(4, 20))


def use_of(config, directory):
    epoch = open_epoch(config, directory, load_manifest(directory))
    return epoch, measure_rows(config, epoch)


@pytest.mark.parametrize("packing", [1, 4])
@pytest.mark.parametrize("task", ["nsp", "none"])
def test_padding_and_pairs_are_those_of_the_batches(directory, tokenizer, packing, task):
    config = config_of(packing=packing, task=task)
    _, use = use_of(config, directory)
    stream = BatchStream(
        directory,
        split="train",
        data=config.data,
        global_batch_size=1,
        tokenizer=tokenizer,
        sentence_task=task,
    )
    batches = [stream.batch_at(step) for step in range(stream.rows_per_epoch)]
    filled = np.concatenate([batch.sequence_ids for batch in batches]) > 0
    assert use.rows.total == len(filled)
    assert padding(use.rows, LENGTH) == pytest.approx(1 - filled.mean(), abs=1e-12)
    labels = np.concatenate([batch.sentence_labels.ravel() for batch in batches])
    if task == "nsp":
        assert use.random_share == pytest.approx((labels[labels >= 0] == 1).mean())
    else:
        assert use.random_share is None


def test_suggested_packing_is_what_packing_gives(directory):
    _, alone = use_of(config_of(), directory)
    _, packed = use_of(config_of(packing=16), directory)
    assert alone.packed == packed.packed == 16
    assert padding(alone.packed_rows, LENGTH) == pytest.approx(
        padding(packed.rows, LENGTH), abs=0.005
    )
    (_, told), (_, then) = (
        check_rows(use, config_of(packing=n).data) for use, n in ((alone, 1), (packed, 16))
    )
    assert told.state == "note" and "data.packing=16" in told.mend
    assert then.state == "ok"


def test_the_share_that_is_cut(directory):
    config = config_of()
    epoch, use = use_of(config, directory)
    edges = set(epoch.shards.sentence_offsets.tolist())
    cut = 0
    for pair in epoch.epoch[0].pairs:
        ends = [pair["a_start"], pair["a_start"] + int(pair["a_length"])]
        ends += [pair["b_start"], pair["b_start"] + int(pair["b_length"])]
        cut += any(int(end) not in edges for end in ends)
    assert 0 < cut < use.sequences.total
    assert use.cut_share == cut / use.sequences.total


def test_epochs_of_a_run(directory):
    rows = open_epoch(config_of(), directory, load_manifest(directory)).plans[0].num_rows
    for values, state in (
        ({"num_steps": 2 * rows // 16}, "ok"),
        ({"num_steps": 50 * rows // 16}, "note"),
        ({"global_batch_size": rows + 1}, "FAIL"),
    ):
        config = config_of(**values)
        epoch = open_epoch(config, directory, load_manifest(directory))
        (finding,) = check_epochs(config, epoch)
        assert finding.state == state
        times = float(finding.figure.split(":")[0])
        asked = config.train.num_steps * config.train.global_batch_size / rows
        assert times == pytest.approx(asked, rel=0.01)


def test_epochs_of_sources_mixed_by_weight(directory):
    manifest = load_manifest(directory)
    edges = [0, 50, manifest.splits["train"]["documents"]]
    sources = [{"name": "x", "train_documents": edges[i : i + 2]} for i in range(2)]
    manifest = dataclasses.replace(manifest, sources=sources)
    config = config_of(num_steps=100)
    values = config.to_dict()
    values["data"]["sources"] = [
        {"name": "installed_docs", "weight": 3.0},
        {"name": "installed_docs", "weight": 1.0},
    ]
    config = Config.from_dict(values)
    epoch = open_epoch(config, directory, manifest)
    findings = check_epochs(config, epoch)
    for number, (finding, share) in enumerate(zip(findings, (0.75, 0.25), strict=True)):
        name, times = finding.figure.split(":")[:2]
        assert name == f"data.sources[{number}]"
        asked = 100 * 16 * share / epoch.plans[number].num_rows
        assert float(times) == pytest.approx(asked, rel=0.01)


def test_one_sentence_documents_matter_where_the_next_is_asked_for():
    assert check_next_sentence(90, 100, None).state == "ok"
    assert check_next_sentence(10, 100, 0.56).state == "ok"
    finding = check_next_sentence(90, 100, 0.8)
    assert not finding.ok and "objective.sentence_task=none" in finding.mend


def test_histograms_hold_all_lengths():
    rng = np.random.default_rng(0)
    lengths = (2.0 ** rng.uniform(0, 26, 5000)).astype(np.int64)
    histogram = LengthHistogram()
    for part in np.array_split(lengths, 7):
        histogram.add(part)
    histogram.add(lengths[:0])
    assert (histogram.total, histogram.sum) == (5000, lengths.sum())
    assert histogram.longest == lengths.max()
    middle = np.quantile(lengths, 0.5)
    assert middle / 1.1 <= histogram.quantile(0.5) <= middle * 1.02
    rows = LengthHistogram(linear_edges(512))
    rows.add(np.arange(513))
    assert rows.counts.sum() == 513 and rows.edges[-2] < 512 < rows.edges[-1]


def test_the_index_and_the_tokens_are_read_in_pieces(directory, monkeypatch):
    shards = ShardSet(directory, "train", 2)
    whole = [(np.asarray(shards.sentence_offsets), np.asarray(shards.document_offsets))]
    monkeypatch.setattr("bert_jax.data.text_checks._CHUNK_SENTENCES", 64)
    blocks = list(document_blocks(shards))
    assert len(blocks) > 5
    assert np.concatenate([np.diff(o) for o, _ in blocks]).tolist() == (
        np.diff(whole[0][0]).tolist()
    )
    assert np.concatenate([np.diff(b) for _, b in blocks]).tolist() == (
        np.diff(whole[0][1]).tolist()
    )
    pieces = list(shards.stretches(100, shards.num_tokens - 7, 1000))
    assert max(map(len, pieces)) == 1000
    files = sorted((directory / "shards").glob("train-*.tokens.npy"))
    tokens = np.concatenate([np.load(path) for path in files])
    assert np.array_equal(np.concatenate(pieces), tokens[100:-7])
