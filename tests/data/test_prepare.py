"""Preparing data: whole, again, interrupted, by one process or two."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bert_jax.config import Config
from bert_jax.data import corpus as corpus_module
from bert_jax.data import prepare as prepare_module
from bert_jax.data import ranges
from bert_jax.data.manifest import check_manifest
from bert_jax.data.prepare import data_directory, default_directory, prepare
from bert_jax.data.shards import ShardSet
from bert_jax.data.stream import BatchStream
from bert_jax.text.tokenizer import load_tokenizer


def quiet(label: str, done: int, total: int) -> None:
    """A report that nobody reads."""


def write_article(rng: random.Random, words: list[str], number: int, sentences: int) -> str:
    lines = [
        " ".join(rng.choices(words, k=rng.randint(4, 12))).capitalize() + "."
        for _ in range(sentences)
    ]
    text = " ".join(lines)
    return f'<doc id="{number}" url="" title="Article {number}">\n{text}\n</doc>\n'


def write_corpus(folder: Path, articles: int = 120, sentences: int = 40) -> None:
    """Articles of made-up words, in the form of wikiextractor."""
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghiklmnoprstu", k=rng.randint(2, 9))) for _ in range(300)
    ]
    folder.mkdir(parents=True)
    for part in range(4):
        numbers = range(part, articles, 4)
        text = "".join(write_article(rng, words, number, sentences) for number in numbers)
        (folder / f"wiki_{part:02d}").write_text(text)


def make_config(corpus: Path, **changes: object) -> Config:
    return Config.from_dict(
        {
            "data": {
                "sources": [{"name": "text_files", "path": str(corpus / "wiki_*")}],
                "eval_fraction": 0.1,
                "sequence_length": 64,
                **changes,
            },
            "tokenizer": {"vocab_size": 400},
        }
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "texts"
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, cache):
    """The corpus is read once for all tests, and makes several shards though small."""
    monkeypatch.setenv("BERT_JAX_CACHE", str(cache))
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 20_000)


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of each file of a prepared directory, plans and lock apart."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in paths
        if "plans" not in path.parts and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus, cache) -> Path:
    """Data prepared by one process without interruption."""
    directory = tmp_path_factory.mktemp("finished") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_JAX_CACHE", str(cache))
        patch.setattr(ranges, "MIN_RANGE_BYTES", 20_000)
        prepare(make_config(corpus), directory, report=quiet, num_processes=1)
    return directory


def test_counts_files_and_text_agree(finished):
    manifest = check_manifest(finished, verify_hashes=True)
    tokenizer = load_tokenizer(finished / "tokenizer")
    assert manifest.tokenizer_sha256 == tokenizer.sha256
    assert manifest.vocab_size == tokenizer.vocab_size
    assert manifest.splits["train"]["shards"] > 3
    counts = np.load(finished / "unigram_counts.npy")
    assert counts.sum() == manifest.splits["train"]["tokens"]
    assert not counts[list(tokenizer.special_ids)].any()
    total = 0
    for split, facts in manifest.splits.items():
        shards = ShardSet(finished, split, facts["shards"])
        assert shards.num_tokens == facts["tokens"] > 0
        assert len(shards.sentence_offsets) - 1 == facts["sentences"]
        assert len(shards.document_offsets) - 1 == facts["documents"]
        total += facts["documents"]
    assert total == 120
    assert 8 <= manifest.splits["eval"]["documents"] <= 16
    assert not (finished / "work").exists()


def test_sentences_are_those_of_the_text(finished, corpus):
    tokenizer = load_tokenizer(finished / "tokenizer")
    text = " ".join(path.read_text() for path in corpus.iterdir()).lower()
    manifest = check_manifest(finished)
    for split, facts in manifest.splits.items():
        shards = ShardSet(finished, split, facts["shards"])
        offsets = np.asarray(shards.sentence_offsets)
        lengths = np.diff(offsets)
        out = np.zeros((len(lengths), lengths.max()), shards.token_dtype)
        shards.gather(
            offsets[:-1], lengths, np.arange(len(lengths)), np.zeros_like(lengths), out
        )
        for row, length in list(zip(shards.ids(out), lengths, strict=True))[::17]:
            sentence = tokenizer.decode(row[:length].tolist())
            assert sentence.removesuffix(".").strip() in text


def test_batches_can_be_read_from_it(finished, corpus):
    stream = BatchStream(
        finished,
        split="train",
        sentence_task="nsp",
        data=make_config(corpus).data,
        global_batch_size=8,
        tokenizer=load_tokenizer(finished / "tokenizer"),
    )
    assert stream.batch_at(10**6).input_ids.shape == (8, 64)


def test_what_is_prepared_is_not_prepared_again(finished, corpus, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("a source was opened")

    monkeypatch.setattr(corpus_module, "open_source", refuse)
    before = digests(finished)
    manifest = prepare(make_config(corpus), finished, report=quiet)
    assert manifest == check_manifest(finished)
    assert digests(finished) == before
    # Negative control: elsewhere, it would be opened.
    with pytest.raises(pytest.fail.Exception, match="a source was opened"):
        prepare(make_config(corpus), finished.parent / "other", report=quiet)


def test_two_processes_make_the_same_bytes(finished, corpus, tmp_path):
    prepare(make_config(corpus), tmp_path / "data", report=quiet, num_processes=2)
    assert digests(tmp_path / "data") == digests(finished)


def test_interrupted_preparation_goes_on_where_it_stood(
    finished, corpus, tmp_path, monkeypatch
):
    real, done = ranges.RangeStage.__call__, []

    def run(self: ranges.RangeStage, item: ranges.Range) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        real(self, item)
        done.append(item.index)

    monkeypatch.setattr(ranges.RangeStage, "__call__", run)
    config = make_config(corpus)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    assert not (tmp_path / "data" / "manifest.json").exists()

    def count(self: ranges.RangeStage, item: ranges.Range) -> None:
        real(self, item)
        again.append(item.index)

    again: list[int] = []
    monkeypatch.setattr(ranges.RangeStage, "__call__", count)
    (tmp_path / "data" / "work" / ".range-00003.tokens.npy.1.tmp").write_bytes(b"half")
    monkeypatch.setattr(prepare_module, "train_tokenizer", None)
    prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    assert done == [0, 1, 2]
    assert again == list(range(3, 3 + len(again))) and again
    assert digests(tmp_path / "data") == digests(finished)


@pytest.mark.parametrize(
    "step",
    [
        "duplicates.first_of_each",
        "prepare.save_held_out_shingles",
        "selection.mark_shared",
        "prepare.save_found",
        "selection.near_duplicates",
        "assemble.merge_offsets",
        "assemble.describe_files",
    ],
)
def test_interrupted_at_the_end_goes_on(finished, corpus, tmp_path, monkeypatch, step):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    config = make_config(corpus)
    with monkeypatch.context() as patch:
        patch.setattr(f"bert_jax.data.{step}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    monkeypatch.setattr(ranges.RangeStage, "__call__", None)
    prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    assert digests(tmp_path / "data") == digests(finished)


def test_a_corpus_that_changed_meanwhile_begins_anew(corpus, tmp_path, monkeypatch):
    texts = tmp_path / "texts"
    write_corpus(texts, articles=40)
    config = make_config(texts)
    with monkeypatch.context() as patch:
        patch.setattr("bert_jax.data.assemble.describe_files", None)
        with pytest.raises(TypeError):
            prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    (texts / "wiki_00").unlink()
    prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    prepare(config, tmp_path / "fresh", report=quiet, num_processes=1)
    assert digests(tmp_path / "data") == digests(tmp_path / "fresh")


def test_near_duplicates_of_training_text_are_not_held_out(tmp_path):
    texts = tmp_path / "texts"
    write_corpus(texts, articles=60)
    config = make_config(texts, eval_fraction=0.3, drop_duplicates=False)
    plain = prepare(config, tmp_path / "plain", report=quiet, num_processes=1)
    assert plain.dropped["near_duplicates_of_training_text"] == 0
    # Each article once more, under another title: most held-out ones now stand in training.
    for path in list(texts.iterdir()):
        copy = path.read_text().replace('title="Article', 'title="Copy of')
        (texts / f"{path.name}_copy").write_text(copy)
    doubled = prepare(config, tmp_path / "doubled", report=quiet, num_processes=1)
    held_out = doubled.splits["eval"]["documents"]
    assert doubled.dropped["near_duplicates_of_training_text"] > 10
    assert (
        held_out
        + doubled.dropped["near_duplicates_of_training_text"]
        + (doubled.splits["train"]["documents"])
        == 120
    )
    assert held_out < plain.splits["eval"]["documents"]


def test_a_given_tokenizer_is_used(finished, corpus, tmp_path):
    config = Config.from_dict(
        {
            "data": make_config(corpus).to_dict()["data"],
            "tokenizer": {"path": str(finished / "tokenizer")},
        }
    )
    manifest = prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    assert manifest.tokenizer_sha256 == check_manifest(finished).tokenizer_sha256
    names = [name for name in digests(finished) if name.startswith("shards/")]
    for name in names:
        assert digests(tmp_path / "data")[name] == digests(finished)[name]


def test_a_sentencepiece_vocabulary_serves_as_well(corpus, tmp_path):
    values = make_config(corpus).to_dict()
    values["tokenizer"] = {"kind": "sentencepiece", "vocab_size": 300}
    config = Config.from_dict(values)
    manifest = prepare(config, tmp_path / "data", report=quiet, num_processes=1)
    assert manifest.splits["train"]["tokens"] > 10_000
    tokenizer = load_tokenizer(tmp_path / "data" / "tokenizer")
    assert tokenizer.kind == "sentencepiece"
    batch = BatchStream(
        tmp_path / "data",
        split="eval",
        sentence_task="nsp",
        data=config.data,
        global_batch_size=4,
        tokenizer=tokenizer,
    ).batch_at(0)
    assert (batch.input_ids[:, 0] == tokenizer.cls_id).all()


@pytest.mark.parametrize("kind", ["absent", "sentencepiece"])
def test_a_given_tokenizer_that_cannot_be_used_is_found_before_the_corpus_is_read(
    finished, corpus, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(corpus_module, "open_source", None)
    monkeypatch.setattr(prepare_module, "source_fingerprint", None)
    values = make_config(corpus).to_dict()
    values["tokenizer"] = {"path": str(finished / "tokenizer"), "kind": "sentencepiece"}
    said = r"tokenizer\.kind='sentencepiece' must be 'wordpiece'"
    if kind == "absent":
        values["tokenizer"] = {"path": str(tmp_path / "absent")}
        said = r"tokenizer\.path=.*absent must be .*; it is not there"
        with pytest.raises(ValueError, match=said):
            default_directory(Config.from_dict(values))
    with pytest.raises(ValueError, match=said):
        prepare(Config.from_dict(values), tmp_path / "data", report=quiet)


def test_the_number_of_documents_is_reported_and_in_the_manifest(tmp_path):
    (tmp_path / "texts").mkdir()
    blocks = [f"The text of number {i}\nis wrapped {i} times." for i in range(60)]
    (tmp_path / "texts" / "wiki_0.txt").write_text("\n\n".join(blocks))
    values = make_config(tmp_path / "texts").to_dict()
    with pytest.raises(ValueError, match="documents=blank_lines"):
        prepare(Config.from_dict(values), tmp_path / "one", report=quiet)
    values["data"]["sources"][0]["documents"] = "blank_lines"
    calls = []
    manifest = prepare(
        Config.from_dict(values),
        tmp_path / "many",
        report=lambda *call: calls.append(call),
        num_processes=1,
    )
    assert ("documents of text_files", 60, 60) in calls
    assert manifest.sources[0]["documents"] == 60
    assert manifest.sources[0]["notes"]["files_cut_at_blank_lines"] == 1
    assert manifest.settings["sources"][0]["documents"] == "blank_lines"


def test_data_of_another_configuration_are_refused(finished, corpus):
    with pytest.raises(
        ValueError, match=r"prepared with eval_fraction=0\.1, which is now 0\.2"
    ) as caught:
        prepare(make_config(corpus, eval_fraction=0.2), finished, report=quiet)
    said = str(caught.value)
    assert said.endswith("set data.directory to another folder or leave it empty")
    assert "remove" not in said


def test_the_recipe_of_pairs_needs_no_preparation(finished, corpus):
    config = make_config(corpus, sequence_length=32, seed=5, short_sequence_rate=0.3)
    assert prepare(config, finished, report=quiet) == check_manifest(finished)
    assert default_directory(config) == default_directory(make_config(corpus))


def test_a_folder_of_something_else_is_refused(corpus, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"must be empty .* thesis\.tex"):
        prepare(make_config(corpus), tmp_path, report=quiet)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_single_document_is_refused_with_a_remedy(tmp_path):
    write_corpus(tmp_path / "texts", articles=1)
    with pytest.raises(ValueError, match="at least two documents"):
        prepare(make_config(tmp_path / "texts"), tmp_path / "data", report=quiet)


def test_directories_stand_under_the_cache(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path))
    config = make_config(corpus)
    assert default_directory(config).parent == tmp_path / "bert_jax" / "data"
    assert data_directory(config) == default_directory(config)
    assert data_directory(make_config(corpus, directory="/elsewhere")) == Path("/elsewhere")
    monkeypatch.delenv("BERT_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_directory(config).parent == tmp_path / "xdg" / "bert_jax" / "data"
    other = make_config(corpus, eval_fraction=0.2)
    assert default_directory(other) != default_directory(config)


def test_progress_is_reported_to_its_end(corpus, tmp_path):
    seen: dict[str, tuple[int, int]] = {}
    prepare(
        make_config(corpus),
        tmp_path / "data",
        report=lambda label, done, total: seen.update({label: (done, total)}),
        num_processes=1,
    )
    assert {"vocabulary", "tokenize", "find duplicates", "write shards"} <= set(seen)
    assert "compare splits" in seen
    assert all(done == total for done, total in seen.values())


SCRIPT = """
import sys
from pathlib import Path
from bert_jax.config import Config
from bert_jax.data import corpus as corpus_module
from bert_jax.data import ranges
from bert_jax.data.prepare import prepare
if __name__ == "__main__":
    ranges.MIN_RANGE_BYTES = 20_000
    config = Config.from_json(Path(sys.argv[1]).read_text())
    prepare(config, Path(sys.argv[2]), report=lambda *_: None, num_processes=2)
"""


@pytest.mark.slow
def test_killed_preparation_leaves_no_process_and_goes_on(tmp_path, cache):
    write_corpus(tmp_path / "texts", articles=800)
    config = make_config(tmp_path / "texts")
    (tmp_path / "config.json").write_text(config.to_json())
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", tmp_path / "config.json"]
    root = Path(prepare_module.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, killed], env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(killed.glob("work/range-*.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "manifest.json").exists()
    assert list(killed.glob("work/range-*.json"))
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_lives(process.pid)
    for directory in (killed, tmp_path / "fresh"):
        subprocess.run([*command, directory], env=environment, check=True, timeout=120)
    assert digests(killed) == digests(tmp_path / "fresh")


def _group_lives(group: int) -> bool:
    """Whether any process of a process group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
