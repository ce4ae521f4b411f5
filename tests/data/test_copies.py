"""Copies are counted by ids, in the whole split or in a sample of it."""

from __future__ import annotations

import pytest
from data.conftest import random_documents

from bert_jax.config_sections import DataConfig
from bert_jax.data.copies import Copies, check_copies, count_copies
from bert_jax.data.shards import ShardSet


def counted(directory, **options) -> Copies:
    return count_copies(ShardSet(directory, "train", 2), **options)


def test_all_copies_are_found_and_nothing_else(prepared, documents):
    assert counted(prepared(documents, documents[:5])).copies == 0
    doubled = [*documents, *documents[:30], *documents[:10]]
    found = counted(prepared(doubled, documents[:5], "doubled"))
    assert found == Copies(looked_at=190, copies=40, is_whole=True)


def test_equal_lengths_are_not_copies(prepared, documents):
    changed = [[[5 + (token + 1) % 400 for token in s] for s in d] for d in documents]
    same_lengths = prepared([*documents, *changed], documents[:5])
    assert counted(same_lengths).copies == 0


def test_other_sentences_of_the_same_text_are_no_copy(prepared, documents):
    joined = [[[token for s in d for token in s]] for d in documents[:30] if len(d) > 1]
    assert counted(prepared([*documents, *joined], documents[:5])).copies == 0


def test_a_sample_gives_the_share_of_the_whole(prepared):
    documents = random_documents(7, 1500)
    directory = prepared([*documents, *documents[:500]], documents[:5])
    found = counted(directory, max_documents=500)
    assert not found.is_whole and 350 < found.looked_at < 650
    assert found.copies / found.looked_at == pytest.approx(500 / 2000, abs=0.07)


@pytest.mark.parametrize(
    ("copies", "drops", "state", "told"),
    [
        (0, False, "ok", ""),
        (5, False, "note", "data.drop_duplicates=true"),
        (50, False, "FAIL", "data.drop_duplicates=true"),
        (5, True, "ok", ""),
        (50, True, "FAIL", "data.near_duplicates=drop"),
    ],
)
def test_what_is_said_of_copies(copies, drops, state, told):
    data = DataConfig(drop_duplicates=drops)
    finding = check_copies(Copies(1000, copies, True), data)
    assert finding.state == state and told in finding.mend
