"""What a path stands for: a folder of Hugging Face, a checkpoint of 2018, a workdir."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from bert_jax.bert_config import BertConfig
from bert_jax.config import Config
from bert_jax.formats import orbax
from bert_jax.formats.mapped_file import quoted
from bert_jax.formats.safetensors_files import read_safetensors
from bert_jax.formats.tf1_checkpoint import list_tf1_variables, read_tf1_checkpoint
from bert_jax.formats.torch_pickle import read_torch_pickle
from bert_jax.hub import hub_folder, is_hub_name
from bert_jax.pretrained.config_files import read_hugging_face_config, read_tf1_config
from bert_jax.pretrained.hugging_face_names import HUGGING_FACE
from bert_jax.pretrained.name_table import OWN, NameTable
from bert_jax.pretrained.saving import FORMAT_VERSION, VERSION_KEY
from bert_jax.pretrained.tf1_names import TF1, is_weight
from bert_jax.pretrained.trees import flat_arrays
from bert_jax.text.tokenizer import load_tokenizer

# Which class has a head, where the checkpoint does not say it.
_CLASS_OF_HEAD = {
    "masked_lm": "BertForMaskedLM",
    "next_sentence": "BertForNextSentencePrediction",
    "classifier": "BertForSequenceClassification",
    "qa_outputs": "BertForQuestionAnswering",
}
_CONFIG, _TF1_CONFIG = "config.json", "bert_config.json"
_INDEX = ".index"
_TOKENIZER = "tokenizer"  # folder of a workdir

# In the order in which they are looked for.
_HUGGING_FACE_READERS = {
    "model.safetensors": read_safetensors,
    "model.safetensors.index.json": read_safetensors,
    "pytorch_model.bin": read_torch_pickle,
    "pytorch_model.bin.index.json": read_torch_pickle,
}


@dataclasses.dataclass(frozen=True)
class Source:
    """A checkpoint that has been opened; the values of its arrays are not read yet.

    Attributes:
        path: for messages.
        config: the architecture.
        class_name: of the model, where the checkpoint says it; else empty.
        arrays: by the names of the file.
        names: how the names are to be read.
        files: what it was read from, to be held to the list of hashes beside it, if there
            is one.
    """

    path: Path
    config: BertConfig
    class_name: str
    arrays: Mapping[str, np.ndarray]
    names: NameTable
    files: tuple[Path, ...] = ()


def open_source(path: str | Path) -> Source:
    """The checkpoint that `path` stands for.

    Args:
        path: a workdir of `bert-jax pretrain`, a folder of Hugging Face (`config.json`
            and weights), a folder or prefix of a TensorFlow checkpoint of 2018
            (`bert_config.json`, `bert_model.ckpt`), or a name of the Hugging Face Hub.

    Raises:
        ValueError: it is none of these, or what is there cannot be read.
    """
    opener, place = _found(path)
    return opener(place)


def config_of(path: str | Path) -> BertConfig:
    """The architecture of a checkpoint, or of a folder or file that has nothing else.

    Args:
        path: as for `open_source`; or a folder with `config.json` or `bert_config.json`
            alone, or such a file.

    Raises:
        ValueError: it is none of these, or what is there cannot be read.
    """
    place = Path(path)
    if place.is_file():
        file = place
    elif place.is_dir() and _opener(place) is None:
        file = place / (_TF1_CONFIG if (place / _TF1_CONFIG).is_file() else _CONFIG)
    else:
        return open_source(path).config
    if file.name == _TF1_CONFIG:
        return read_tf1_config(file)
    return read_hugging_face_config(file)[0]


def tokenizer_folder(path: str | Path) -> Path:
    """Where the tokenizer of a checkpoint lies, if it has one.

    Args:
        path: as for `open_source`.

    Raises:
        ValueError: there is no such checkpoint.
    """
    opener, place = _found(path)
    if opener is _open_workdir:
        return place / _TOKENIZER
    return place.parent if opener is _open_tf1 else place


def _found(path: str | Path) -> tuple[Callable[[Path], Source], Path]:
    """What opens a checkpoint, and the folder or prefix to open."""
    place = Path(path)
    found = _opener(place)
    if found is not None:
        return found
    if place.is_dir():
        raise ValueError(
            f"{place} must be a workdir with checkpoints, or hold one of "
            f"{', '.join(_HUGGING_FACE_READERS)} or a TensorFlow checkpoint "
            "(bert_model.ckpt.index); it has no weights that can be read"
        )
    if not place.exists() and is_hub_name(str(path)):
        return _open_hugging_face, hub_folder(str(path))
    raise ValueError(
        f"{place} must be a folder with a model, a prefix of a TensorFlow checkpoint or a "
        f"name of the Hugging Face Hub; it {'is a file' if place.exists() else 'is absent'}"
    )


def _opener(place: Path) -> tuple[Callable[[Path], Source], Path] | None:
    """What opens a checkpoint on disk; None if there is none."""
    if (place / "checkpoints").is_dir():
        return _open_workdir, place
    if place.name and place.with_name(f"{place.name}{_INDEX}").is_file():
        return _open_tf1, place
    if any((place / name).exists() for name in _HUGGING_FACE_READERS):
        return _open_hugging_face, place
    prefixes = sorted(file.with_suffix("") for file in place.glob(f"*{_INDEX}"))
    return (_open_tf1, _only(prefixes, place)) if prefixes else None


def architecture_of(path: str | Path) -> str:
    """The model class that keeps all of a checkpoint, by its name in this package.

    Args:
        path: as for `open_source`.

    Raises:
        ValueError: it cannot be read.
    """
    source = open_source(path)
    names = source.names.resolve(source.arrays)
    heads = {head for head, weight in source.names.head_weights.items() if weight in names}
    if {"masked_lm", "next_sentence"} <= heads:
        return "BertForPreTraining"
    if source.class_name:
        return source.class_name
    return next((c for head, c in _CLASS_OF_HEAD.items() if head in heads), "BertModel")


def _open_hugging_face(folder: Path) -> Source:
    name = next((n for n in _HUGGING_FACE_READERS if (folder / n).exists()), None)
    if name is None:
        raise ValueError(
            f"{folder} must hold one of {', '.join(_HUGGING_FACE_READERS)}; fetch it"
        )
    config, class_name = read_hugging_face_config(folder / _CONFIG)
    arrays = _HUGGING_FACE_READERS[name](folder / name)
    said = arrays.metadata  # others write no version of ours
    if VERSION_KEY in said and said[VERSION_KEY] != FORMAT_VERSION:
        raise ValueError(
            f"{folder / name}: {VERSION_KEY}={quoted(said[VERSION_KEY])} must be "
            f"{FORMAT_VERSION}; it was written by another version of bert_jax"
        )
    files = (folder / _CONFIG, *arrays.files)
    return Source(folder / name, config, class_name, arrays, HUGGING_FACE, files)


def _open_tf1(prefix: Path) -> Source:
    folder = prefix.parent
    if not (folder / _TF1_CONFIG).exists() and (folder / _CONFIG).exists():
        config = read_tf1_config(folder / _CONFIG)
    else:
        config = read_tf1_config(folder / _TF1_CONFIG)
    variables = list_tf1_variables(prefix)
    arrays = read_tf1_checkpoint(prefix, lambda name: is_weight(name, variables))
    return Source(prefix, config, "", arrays, TF1)


def _open_workdir(workdir: Path) -> Source:
    step, params, meta = orbax.load_params(workdir / "checkpoints")
    tokenizer = workdir / _TOKENIZER
    if tokenizer.is_dir():
        found = load_tokenizer(tokenizer).sha256
        orbax.check_hashes(step, meta, tokenizer_sha256=found)
    config = Config.from_dict(meta["config"]).bert_config(meta["vocab_size"])
    return Source(workdir, config, "", flat_arrays(params), OWN)


def _only(prefixes: list[Path], folder: Path) -> Path:
    """The one checkpoint of a folder, or the one that Google's archives have."""
    named = [prefix for prefix in prefixes if prefix.name == "bert_model.ckpt"]
    if len(prefixes) > 1 and not named:
        raise ValueError(
            f"{folder} has several checkpoints, {', '.join(p.name for p in prefixes[:4])}; "
            f"name one, as {prefixes[-1]}"
        )
    return named[0] if named else prefixes[0]
