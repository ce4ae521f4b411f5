"""Documents that give away an evaluation are left out."""

from __future__ import annotations

import json

import pytest
from data.corpora_by_hand import (
    config_of,
    made_up_documents,
    prepare_quietly,
    write_texts,
)

from bert_jax.config import Config
from bert_jax.data.contamination import contaminated, evaluation_files, save_ngrams
from bert_jax.data.hash_set import HashSet
from bert_jax.text.tokenizer import load_tokenizer


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))


TEXT = "a sentence of an evaluation with more than thirteen tokens in it stands here, too"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", f"short\n{TEXT}\n"),
        ("a.tsv", f"id\ttext\n1\t{TEXT}\tyes\n"),
        ("a.csv", f'id,text\n1,"{TEXT}"\n'),
        ("a.jsonl", json.dumps({"n": 1, "t": ["x", {"deep": TEXT}]}) + "\n\n"),
        ("a.json", json.dumps([{"paragraphs": [{"context": TEXT}]}])),
    ],
)
def test_every_kind_of_file_is_read(tmp_path, shared_data, name, content):
    (tmp_path / name).write_text(content)
    tokenizer = load_tokenizer(shared_data / "vocab" / "bert-base-uncased-vocab.txt")
    save_ngrams(tmp_path / "ngrams.npy", [str(tmp_path / "a.*")], tokenizer)
    ngrams = HashSet(tmp_path / "ngrams.npy")
    texts = [
        f"Before it. {TEXT.upper()} And after.",
        " ".join(TEXT.split()[:11]),  # twelve tokens of it
        "Nothing in common with what stands in the file, and long enough to be seen.",
        # Split over two documents, it is in neither.
        " ".join(TEXT.split()[:8]),
        " ".join(TEXT.split()[8:]),
    ]
    ids, offsets = tokenizer.encode_batch(texts)
    assert contaminated(ngrams, ids, offsets).tolist() == [True] + [False] * 4


def test_unknown_words_are_nothing_in_common(tmp_path, shared_data):
    tokenizer = load_tokenizer(shared_data / "vocab" / "bert-base-uncased-vocab.txt")
    (tmp_path / "a.txt").write_text("\U0001f600 " * 20 + "\n" + TEXT)
    save_ngrams(tmp_path / "ngrams.npy", [str(tmp_path / "a.txt")], tokenizer)
    ids, offsets = tokenizer.encode_batch(["\U0001f605 " * 20])
    assert (ids == tokenizer.unk_id).all() and len(ids) == 20
    assert not contaminated(HashSet(tmp_path / "ngrams.npy"), ids, offsets).any()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", "x", r"must end in one of \.txt"),
        ("a.json", "{", "must be json"),
        ("a.txt", "too short\n", "must hold texts of 13 tokens"),
        ("b.txt", "x", "must find files and finds none"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, shared_data, name, content, message):
    (tmp_path / name).write_text(content)
    tokenizer = load_tokenizer(shared_data / "vocab" / "bert-base-uncased-vocab.txt")
    with pytest.raises(ValueError, match=rf"^data\.decontaminate: .*{message}"):
        save_ngrams(tmp_path / "n.npy", [str(tmp_path / "a.*")], tokenizer)


def test_documents_that_quote_a_real_task_are_dropped(tmp_path, shared_data):
    """Every fourth document quotes a premise of the development set of RTE."""
    task, vocabulary = shared_data / "rte" / "dev.tsv", shared_data / "vocab"
    premises = [line.split("\t")[1] for line in task.read_text().splitlines()[1:]]
    long = [premise for premise in premises if len(premise.split()) > 30]
    documents = made_up_documents(1, 80)
    quoting = range(0, 80, 4)
    for number in quoting:
        documents[number].insert(6, " ".join(long[number].split()[5:25]))
    source = write_texts(tmp_path / "texts.txt", documents)
    values = config_of(source, decontaminate=[str(task)]).to_dict()
    values["tokenizer"] = {"path": str(vocabulary / "bert-base-uncased-vocab.txt")}
    manifest = prepare_quietly(Config.from_dict(values), tmp_path / "data")
    assert manifest.dropped["contaminated_documents"] == len(quoting)
    kept = [facts["documents"] for facts in manifest.splits.values()]
    assert sum(kept) == 80 - len(quoting)
    values["data"]["decontaminate"] = []
    plain = prepare_quietly(Config.from_dict(values), tmp_path / "plain")
    assert "contaminated_documents" not in plain.dropped
    assert manifest.settings["decontaminate"] != plain.settings["decontaminate"]


def test_files_are_found_once(tmp_path):
    for name in ("a.txt", "b.tsv"):
        (tmp_path / name).write_text("x")
    found = evaluation_files([str(tmp_path / "*.txt"), str(tmp_path / "*")])
    assert [path.name for path in found] == ["a.txt", "b.tsv"]
