"""What is held out: by title where titles tell documents apart, else by id."""

from __future__ import annotations

import pytest

from bert_jax.corpora.documents import Document
from bert_jax.data.holdout import SMALL_SOURCE, choose_holdout, documents_per_read, read_all


class ListSource:
    """A source of documents in memory."""

    def __init__(self, documents: list[Document]):
        self._documents = documents
        self.num_bytes = sum(len(document.text) for document in documents)

    def __len__(self) -> int:
        return len(self._documents)

    def read(self, start: int, stop: int) -> list[Document]:
        return self._documents[start:stop]


def documents(count: int, title=lambda i: f"title {i}") -> list[Document]:
    return [Document(f"id {i}", title(i), "word " * (50 + i % 7)) for i in range(count)]


def held_out(items: list[Document], fraction: float = 0.02) -> list[Document]:
    holdout = choose_holdout(ListSource(items), fraction)
    return [document for document in items if holdout.takes(document)]


@pytest.mark.parametrize("count", [2, 3, 32, 500, SMALL_SOURCE])
def test_small_sources_give_at_least_one_and_the_share(count):
    taken = held_out(documents(count))
    assert 1 <= len(taken) < count
    assert len(taken) <= 0.02 * count + 2


def test_one_document_is_kept_for_training():
    assert held_out(documents(1)) == []


def test_large_sources_give_about_the_share():
    taken = held_out(documents(20_000), 0.05)
    assert abs(len(taken) - 1000) < 5 * 31


@pytest.mark.parametrize("count", [600, 6000])
def test_documents_of_one_title_stay_together(count):
    items = documents(count, lambda i: f"title {i // 2 if i % 10 < 4 else i}")
    taken = held_out(items, 0.1)
    titles = {document.title for document in taken}
    assert taken == [document for document in items if document.title in titles]
    assert len(titles) < len(taken)


@pytest.mark.parametrize("count", [50, 6000])
@pytest.mark.parametrize("title", ["", "one file.txt"])
def test_documents_under_one_title_go_by_their_ids(count, title):
    taken = held_out(documents(count, lambda _: title), 0.1)
    assert 0.05 * count < len(taken) < 0.2 * count


def test_the_choice_depends_on_titles_alone():
    items = documents(300)
    shuffled = items[100:] + items[:100]
    assert {d.title for d in held_out(items)} == {d.title for d in held_out(shuffled)}


def test_all_is_read_in_bounded_pieces():
    source = ListSource(documents(1000))
    assert list(read_all(source, 10, 990)) == source.read(10, 990)
    assert documents_per_read(source) == 512
    source.num_bytes = 10**9
    assert documents_per_read(source) == 1
