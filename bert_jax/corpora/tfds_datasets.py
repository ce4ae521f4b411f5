"""Datasets of TFDS by their names: found on disk, or built there if that is asked for.

Only ArrayRecord files are read, since any other kind needs TensorFlow. So does building
many a dataset: its code reads files through TensorFlow, or it holds more than a gigabyte,
which TFDS shuffles through TensorFlow's files. Wikipedia and the other datasets that are
built with Apache Beam need no TensorFlow, and the extra `beam`. Beam's local runner keeps
its intermediate results in memory: for a large Wikipedia run the builder on a cluster, as
TFDS describes it, and name the finished dataset here.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from bert_jax.corpora.document_builder import prepare_alone

_NAME = re.compile(r"[A-Za-z]\w*(/[\w.+-]+)?(:\d+\.\d+\.\d+)?")
_WIKIPEDIA = re.compile(r"wikipedia/(\d{8})\.([\w-]+)")
_OWN = ("installed_docs", "text_files", "books_corpus")


def ready_builder(name: str, *, download: bool) -> Any:
    """The builder of a dataset that lies on disk as ArrayRecord files.

    Args:
        name: dataset, dataset/config, or with a version dataset/config:1.0.0. Any date
            and language of Wikipedia is known: wikipedia/20230601.en.
        download: whether to download and build the dataset if it is not there.

    Returns:
        A builder of TFDS, prepared.

    Raises:
        ValueError: there is no such dataset; it is not on disk and `download` is False;
            it lies there as another kind of file; or it cannot be built here.
    """
    builder = _find_builder(name)
    with quiet():
        is_prepared = builder.is_prepared()
    if not is_prepared:
        if not download:
            raise ValueError(_not_prepared(name, builder))
        _build(name, builder)
        builder = _find_builder(name)
    kind = builder.info.file_format.value
    if kind != "array_record":
        raise ValueError(
            f"data.sources: {name} lies under {builder.data_path} as {kind} and must be "
            "array_record; move that folder away and set data.download=true, or, where "
            "TensorFlow is installed, convert it to a folder of its own: tfds "
            f"convert_format --dataset_version_dir={builder.data_path} "
            "--out_file_format=array_record --out_dir=..."
        )
    return builder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TFDS prints banners and bars; ours stand in their place."""
    tfds.disable_progress_bar()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _find_builder(name: str) -> Any:
    """The builder that a name means, with code or from files alone.

    TFDS knows its Beam datasets, Wikipedia among them, only once one of them is loaded.
    """
    assert tfds.text.Wikipedia is not None
    # Other forms make TFDS ask the network, or read arguments out of the name.
    if not _NAME.fullmatch(name):
        raise ValueError(_unknown(name))
    try:
        with quiet():
            config = _wikipedia_config(name)
            if config is not None:
                return tfds.builder("wikipedia", config=config)
            return tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        raise ValueError(_unknown(name)) from None
    except (ValueError, AssertionError) as error:
        # TFDS says so of a config or a version; what it adds fills pages.
        if not str(error).startswith("Failed to construct dataset"):
            raise
        raise ValueError(_unknown(name)) from None


def _wikipedia_config(name: str) -> Any:
    """The config of a Wikipedia of a date that TFDS does not list; else None."""
    found = _WIKIPEDIA.fullmatch(name)
    if found is None or _wikipedia_module().Wikipedia.builder_configs.get(name[10:]):
        return None
    date, language = found.groups()
    module = _wikipedia_module()
    if language not in module.WIKIPEDIA_LANGUAGES:
        return None
    return module.WikipediaConfig(date=date, language=language)


def _wikipedia_module() -> Any:
    return importlib.import_module(tfds.text.Wikipedia.__module__)


def _unknown(name: str) -> str:
    """One line about a name that means no dataset, with those that are nearest to it."""
    base, _, config = name.partition("/")
    known = list(tfds.list_builders(with_community_datasets=False))
    if base in known and config:
        configs = list(tfds.builder_cls(base).builder_configs)
        candidates = [f"{base}/{item}" for item in configs]
        wanted = name.partition(":")[0]
    else:
        candidates, wanted = sorted({*_OWN, *known}), base
    near = difflib.get_close_matches(wanted, candidates, n=3, cutoff=0.6)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return (
        f"data.sources: name={name!r} must be {', '.join(_OWN)} or a TFDS dataset such as "
        f"pg19{hint}"
    )


def _not_prepared(name: str, builder: Any) -> str:
    by_hand = (
        ""
        if _wikipedia_config(name)
        else '; or run python -c "import tensorflow_datasets '
        f"as tfds; tfds.text.Wikipedia; tfds.builder('{name}', file_format='array_record')"
        '.download_and_prepare()"'
    )
    return (
        f"data.sources: {name} is not prepared under {builder.data_dir}; set "
        "TFDS_DATA_DIR to where it is; or set data.download=true (Wikipedia: after pip "
        f"install 'bert_jax[beam]'){by_hand}"
    )


def _build(name: str, builder: Any) -> None:
    """Downloads a dataset and writes its files."""
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    has_beam = importlib.util.find_spec("apache_beam") is not None
    if isinstance(builder, tfds.core.BeamBasedBuilder) and not has_beam:
        # Said here, since TFDS notices only when it has downloaded everything.
        raise ValueError(
            f"data.download: {name} is built by Apache Beam, which is not installed; pip "
            "install 'bert_jax[beam]'"
        )
    if has_beam:
        from apache_beam.options.pipeline_options import PipelineOptions

        # Named, since TFDS asks at the terminal where nothing is; and without flags,
        # since Beam would look for some in our command line.
        config.beam_runner = "DirectRunner"
        config.beam_options = PipelineOptions([])
    try:
        with quiet():
            prepare_alone(builder, config)
    except ImportError as error:
        what = str(error).strip().splitlines()[0]
        raise ValueError(
            f"data.download: {name} cannot be built here ({what}); build it where that "
            "is there, with file_format='array_record', and set TFDS_DATA_DIR to its place"
        ) from None
    except (OSError, AssertionError, DownloadError, NonMatchingChecksumError) as error:
        what = " ".join(str(error).split())[:300]
        raise ValueError(
            f"data.download: {name} could not be downloaded or built ({what}); try again "
            "later, or build it elsewhere and set TFDS_DATA_DIR to where it is"
        ) from None
