"""Names of the Hub: from a cache made by hand, and without a network."""

from __future__ import annotations

import fnmatch
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretrained.small_models import (
    IDS,
    assert_equal_params,
    make_arrays,
    make_model,
    write_folder,
)

from bert_jax import BertModel, hub
from bert_jax.hub import hub_folder, is_hub_name

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def fill(cache: Path, name: str, arrays: dict[str, np.ndarray]) -> Path:
    """The folder of a model, made as the Hub's own client makes it: links to blobs."""
    root = cache / f"models--{name.replace('/', '--')}"
    folder = write_folder(root / "snapshots" / REVISION, arrays, "BertModel")
    (root / "blobs").mkdir()
    for path in list(folder.iterdir()):
        blob = root / "blobs" / f"blob-of-{path.name}"
        shutil.move(path, blob)
        path.symlink_to(os.path.relpath(blob, folder))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(REVISION)
    return folder


@pytest.mark.parametrize("name", ["someone/some-bert", "bert-by-itself"])
def test_a_name_in_the_cache_needs_no_network(name: str, cache: Path) -> None:
    folder = fill(cache, name, make_arrays("BertModel"))
    assert hub_folder(name) == folder
    assert_equal_params(BertModel.from_pretrained(name), make_model("BertModel"))


@pytest.mark.parametrize("revision", ["main", REVISION])
def test_a_revision_stands_behind_an_at(revision: str, cache: Path) -> None:
    folder = fill(cache, "someone/some-bert", make_arrays("BertModel"))
    assert hub_folder(f"someone/some-bert@{revision}") == folder
    with pytest.raises(ValueError, match="other is not a local folder"):
        hub_folder("someone/some-bert@other")


def test_what_sentence_transformers_writes_is_fetched_too(cache: Path) -> None:
    folder = fill(cache, "someone/some-bert", make_arrays("BertModel"))
    patterns = hub._DESCRIPTION
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
    assert not any(fnmatch.fnmatch("README.md", pattern) for pattern in patterns)
    assert folder.is_dir()


def test_a_local_folder_of_that_name_comes_first(cache: Path) -> None:
    fill(cache, "someone/some-bert", make_arrays("BertModel"))
    write_folder(Path("someone/some-bert"), make_arrays("BertModel", seed=1), "BertModel")
    model = BertModel.from_pretrained("someone/some-bert")
    assert_equal_params(model, make_model("BertModel", seed=1))


def test_without_network_and_cache_one_line_says_what_to_do(cache: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^nobody/nothing is not a .* `hf download n"
    ) as e:
        BertModel.from_pretrained("nobody/nothing")
    assert len(str(e.value).splitlines()) == 1


def test_an_unreachable_network_is_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise huggingface_hub.errors.HfHubHTTPError.__bases__[0]("no route\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"HTTPError: no route\); where there is network"):
        hub_folder("nobody/nothing")


def test_an_incomplete_cache_serves_if_it_has_what_is_needed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(cache, "someone/some-bert", make_arrays("BertModel"))

    def incomplete(*_: Any, **__: Any) -> None:
        error = huggingface_hub.errors.LocalEntryNotFoundError("tokenizer.json is missing")
        error.snapshot_path = str(folder)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", incomplete)
    assert BertModel.from_pretrained("someone/some-bert")(IDS) is not None


def test_pickles_are_fetched_only_where_there_is_nothing_better(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        assert (name, revision) == ("a/b", None)
        asked.append(allow_patterns)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    cache.mkdir()
    hub_folder("a/b")
    assert asked.pop() == ["pytorch_model*"]
    (cache / "model.safetensors").touch()
    asked.clear()
    hub_folder("a/b")
    assert len(asked) == 1 and not any("pytorch" in pattern for pattern in asked[0])


def test_without_the_package_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install 'bert_jax\[hub\]'$"):
        hub_folder("a/b")


@pytest.mark.parametrize(
    ("path", "is_name"),
    [
        ("google-bert/bert-base-uncased", True),
        ("bert-base-uncased", True),
        ("runs/wiki/model", False),
        ("/tmp/model", False),
        ("./model", False),
        ("..", False),
        ("a b", False),
        ("", False),
    ],
)
def test_what_can_be_a_name(path: str, is_name: bool) -> None:
    assert is_hub_name(path) == is_name
