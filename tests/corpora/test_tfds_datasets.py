"""Datasets of TFDS: found, built on request, refused in one line. No network."""

from __future__ import annotations

import importlib.util
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import tensorflow_datasets as tfds

from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora.sources import kind_of_cleaning, open_source
from bert_jax.corpora.tfds_datasets import ready_builder

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None


class FewBooks(tfds.core.GeneratorBasedBuilder):
    """Features are named as those of pg19."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = {"book_title": text, "book_text": text, "book_link": text}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, str]]]:
        for i in range(4):
            yield i, {"book_title": f"T{i}", "book_text": f"Book {i}.", "book_link": ""}


class NeedsMore(FewBooks):
    """As many builders of TFDS: it reads its files through TensorFlow."""

    def _generate_examples(self) -> Iterator[Any]:
        import no_such_tensorflow  # type: ignore[import-not-found]

        yield no_such_tensorflow.read()


class FewPages(tfds.core.BeamBasedBuilder):
    """A dataset that Beam builds."""

    VERSION = tfds.core.Version("1.0.0")
    _info = FewBooks._info
    _split_generators = FewBooks._split_generators

    def _build_pcollection(self) -> Any:
        import apache_beam as beam

        def page(i: int) -> tuple[int, dict[str, str]]:
            return i, {"book_title": f"T{i}", "book_text": f"Page {i}.", "book_link": ""}

        return beam.Create(range(7)) | beam.Map(page)


@pytest.fixture
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where TFDS looks for datasets and writes them."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path


def texts(name: str, place: pathlib.Path, **options: Any) -> set[tuple[str, str]]:
    source = open_source(SourceConfig(name), DataConfig(**options), place / "cache")
    return {(d.title, d.text) for d in source.read(0, len(source))}


def message(name: str, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        ready_builder(name, **{"download": False, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_dataset_is_built_only_when_asked_for(place: pathlib.Path) -> None:
    assert "set data.download=true" in message("few_books")
    wanted = {(f"T{i}", f"Book {i}.") for i in range(4)}
    assert texts("few_books", place, download=True) == wanted
    # It lies there now.
    assert texts("few_books", place) == wanted


def test_what_cannot_be_built_here_is_named(place: pathlib.Path) -> None:
    assert "No module named 'no_such_tensorflow'" in message("needs_more", download=True)
    assert not list(place.rglob("*.array_record*"))


@pytest.mark.skipif(HAS_BEAM, reason="Apache Beam is installed")
def test_without_beam_its_extra_is_named(place: pathlib.Path) -> None:
    assert "pip install 'bert_jax[beam]'" in message("few_pages", download=True)


@pytest.mark.beam
def test_beam_builds_with_its_local_runner(place: pathlib.Path) -> None:
    wanted = {(f"T{i}", f"Page {i}.") for i in range(7)}
    assert texts("few_pages", place, download=True) == wanted


def test_files_of_another_kind_are_refused(place: pathlib.Path) -> None:
    texts("few_books", place, download=True)
    (info,) = place.rglob("dataset_info.json")
    facts = json.loads(info.read_text())
    info.write_text(json.dumps({**facts, "fileFormat": "tfrecord"}))
    found = message("few_books")
    assert "as tfrecord and must be array_record" in found
    assert "tfds convert_format --dataset_version_dir=" in found


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("few_bookss", "few_books"),
        ("book_corpus", "books_corpus"),
        ("wikipeda/20230601.en", "wikipedia"),
        ("wikipedia/20230601.simpel", "wikipedia/20230601.simple"),
        ("pg19:9.9.9", "must be"),
        ("huggingface:imdb", "must be"),
        ("../somewhere", "must be"),
    ],
)
def test_an_unknown_name_gets_its_nearest(
    place: pathlib.Path, name: str, nearest: str
) -> None:
    assert nearest in message(name).partition("such as pg19")[2] or nearest == "must be"
    assert repr(name) in message(name)


@pytest.mark.parametrize("name", ["wikipedia/20230601.simple", "wikipedia/20300101.de"])
def test_wikipedia_of_any_date_and_language(place: pathlib.Path, name: str) -> None:
    assert f"{name} is not prepared under" in message(name)


def test_the_kind_of_cleaning() -> None:
    def kind(name: str, clean: str = "auto", **notes: int) -> str:
        counts = {"files_of_wikiextractor": 0, "files_as_one_document": 2, **notes}
        return kind_of_cleaning(SourceConfig(name, clean=clean), counts)

    assert kind("wikipedia/20230601.en") == "wikipedia"
    assert kind("pg19") == kind("pg19:0.1.1") == kind("books_corpus") == "gutenberg"
    assert kind("installed_docs") == "none"
    assert kind("c4") == kind("text_files") == "plain"
    assert kind("text_files", files_of_wikiextractor=2) == "plain"
    assert kind("text_files", files_of_wikiextractor=3) == "wikipedia"
    assert kind("pg19", clean="none") == "none"
