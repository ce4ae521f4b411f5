"""Any BERT as a folder of Hugging Face, or as a StableHLO artifact."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from bert_jax.pretrained.classes import MODEL_CLASSES
from bert_jax.pretrained.export import (
    check_destination,
    export_hugging_face,
    export_stablehlo,
)
from bert_jax.pretrained.model_card import Origin
from bert_jax.pretrained.sources import architecture_of, tokenizer_folder
from bert_jax.tasks.sentence_recipe import read_recipe
from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.entries import VOCABULARY_FILES
from bert_jax.train.export import origin_of_run
from bert_jax.train.workdir import is_workdir

FORMATS = ("hf", "stablehlo")


def convert(source: str, destination: Path, to: str, architecture: str | None) -> str:
    """Writes a model in another form; what is written has been loaded again and compared.

    Args:
        source: whatever `from_pretrained` takes.
        destination: a folder that is absent or empty.
        to: one of FORMATS.
        architecture: name of a model class; None for the one that the source is of.

    Returns:
        The name of the class.

    Raises:
        ValueError: the source cannot be read, or the destination is taken.
        RuntimeError: what was written gives other numbers.
    """
    check_destination(destination)
    name = architecture_of(source) if architecture is None else architecture
    if name not in MODEL_CLASSES:
        raise ValueError(
            f"architecture={name} must be one of {', '.join(MODEL_CLASSES)}; give "
            "--architecture"
        )
    model = _load(name, source)
    if to == "stablehlo":
        export_stablehlo(model, destination)
        return name
    folder = tokenizer_folder(source)
    tokenizer = _tokenizer(folder)
    beside = _recipe_files(folder) if name == "BertModel" else {}
    export_hugging_face(model, tokenizer, destination, _origin(source), beside)
    return name


def _recipe_files(folder: Path) -> dict[str, Path]:
    """What makes a folder one of sentence-transformers, if it is one."""
    try:
        return {name: folder / name for name in read_recipe(folder).files}
    except ValueError as error:
        warnings.warn(f"the export is a plain encoder: {error}", stacklevel=2)
        return {}


def _load(name: str, source: str) -> Any:
    """The model, warning of weights that it lacks; an encoder without pooler stays one."""
    model, report = MODEL_CLASSES[name].load(source)
    if name == "BertModel" and report.missing:
        model, report = MODEL_CLASSES[name].load(source, add_pooling_layer=False)
    report.show(stacklevel=2)
    return model


def _origin(source: str) -> Origin:
    if is_workdir(Path(source)):
        return origin_of_run(Path(source))
    # A name of the Hub is told with its owner; of a place on this machine, the last part.
    is_local = Path(source).parent.is_dir()
    name = Path(source).name if is_local else source
    return Origin(summary=f"Converted by bert_jax from {name}.")


def _tokenizer(folder: Path) -> BertTokenizer | None:
    """The tokenizer beside a model; None if there is none, which is told."""
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        warnings.warn(f"{folder} has no tokenizer; the export has none", stacklevel=2)
        return None
    return BertTokenizer.from_pretrained(folder)
