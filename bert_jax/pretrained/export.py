"""A trained model as a folder that others load, proved by loading it again.

Shapes: B batch, C choices, L length.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.formats.hashes import HASHES_NAME, write_hashes
from bert_jax.formats.safetensors_files import write_safetensors
from bert_jax.pretrained.loading import Plan, abstract_model
from bert_jax.pretrained.model_card import Origin, model_card
from bert_jax.pretrained.saving import save_model
from bert_jax.pretrained.stablehlo import (
    INPUTS,
    outputs_of,
    run_stablehlo,
    serialize_stablehlo,
)
from bert_jax.pretrained.trees import flat_arrays, nested_tree
from bert_jax.text.bert_tokenizer import BertTokenizer

CARD = "README.md"
PROBE = "probe.safetensors"
STABLEHLO = "model.stablehlo"
_PROBE_LENGTH = 12
_PROBE_CHOICES = 2

# A program compiled for other shapes may add in another order, and no more than that.
_TOLERANCE = 1e-5


def export_hugging_face(
    model: Any,
    tokenizer: BertTokenizer | None,
    destination: Path,
    origin: Origin,
    beside: Mapping[str, Path] = types.MappingProxyType({}),
) -> None:
    """Writes weights, configuration, tokenizer, model card, probe and hashes.

    Args:
        model: of any class of `bert_jax.pretrained.classes`.
        tokenizer: its tokenizer, if there is one.
        destination: a folder that is absent or empty; it appears whole or not at all.
        origin: what the model card says of the model.
        beside: other files to copy: name in the folder -> where it is now.

    Raises:
        ValueError: the destination is taken.
        RuntimeError: the folder, loaded again, gives other numbers.
    """
    check_destination(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(destination.parent, destination.name) as folder:
        _write_proved(model, tokenizer, folder, origin)
        for name, path in beside.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        _publish(folder, destination)


def save_hugging_face(model: Any, tokenizer: BertTokenizer | None, directory: Path) -> None:
    """As `export_hugging_face`, into a folder that may hold a model and other files.

    Files of the same names are replaced, each as a whole and their hashes last: what a
    crash leaves half replaced is refused when it is loaded. A README.md stays as it is.

    Args:
        model: of any class of `bert_jax.pretrained.classes`.
        tokenizer: its tokenizer, to be saved too; None leaves that to its own
            `save_pretrained`.
        directory: where to; made if absent.

    Raises:
        RuntimeError: what was written, loaded again, gives other numbers, or the model's
            are not finite; the directory is as it was.
    """
    is_new = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with _scratch(directory, "saving") as folder:
            _write_proved(model, tokenizer, folder, Origin("A BERT saved by bert_jax."))
            if (directory / CARD).exists():
                (folder / CARD).unlink()
            write_hashes(folder, _names_in(folder))
            for name in [*_names_in(folder), HASHES_NAME]:
                os.replace(folder / name, directory / name)
    finally:
        if is_new and not any(directory.iterdir()):
            directory.rmdir()


def _write_proved(
    model: Any, tokenizer: BertTokenizer | None, folder: Path, origin: Origin
) -> None:
    """All but the hashes."""
    cls = type(model)
    save_model(model, cls.__name__, folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    (folder / CARD).write_text(model_card(cls.__name__, model.config, origin), "utf-8")

    def answer(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return _answers(cls.from_pretrained(folder, **_structure(model)), inputs)

    _prove(model, folder, answer)


def export_stablehlo(model: Any, destination: Path) -> None:
    """Writes one artifact for `jax.export`, a probe and hashes.

    Args:
        model: of any class of `bert_jax.pretrained.classes`.
        destination: as for `export_hugging_face`.

    Raises:
        ValueError: the destination is taken, or the model too large for one artifact.
        RuntimeError: the artifact gives other numbers.
    """

    check_destination(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(destination.parent, destination.name) as folder:
        longest = model.config.max_position_embeddings
        path = folder / STABLEHLO
        path.write_bytes(serialize_stablehlo(_in_float32(model), longest))
        _prove(model, folder, lambda inputs: run_stablehlo(path, inputs))
        _publish(folder, destination)


def check_destination(destination: Path) -> None:
    """Raises ValueError where something stands already that would have to go."""
    is_free = not destination.exists() or (
        destination.is_dir() and not any(destination.iterdir())
    )
    if not is_free:
        raise ValueError(
            f"destination={destination} must be absent or an empty folder; choose another"
        )


@contextlib.contextmanager
def _scratch(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder on the same disk, which goes away with all that is still in it."""
    with tempfile.TemporaryDirectory(
        prefix=f".{name}.", dir=parent, ignore_cleanup_errors=True
    ) as scratch:
        folder = Path(scratch) / "export"  # with the permissions of any new folder
        folder.mkdir()
        yield folder


def _publish(folder: Path, destination: Path) -> None:
    """Writes the hashes and gives the folder its name."""
    write_hashes(folder, _names_in(folder))
    if destination.exists():
        destination.rmdir()
    shutil.move(folder, destination)


def _names_in(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in files}
    return sorted(names - {HASHES_NAME})


def _structure(model: Any) -> dict[str, bool]:
    """What a class must be told, beside the configuration, to have the same weights."""
    is_encoder = hasattr(model, "pooler")
    return {"add_pooling_layer": model.pooler is not None} if is_encoder else {}


def _in_float32(model: Any) -> Any:
    """The model on one device, computing in float32: what its files are to answer."""
    options = {**_structure(model), "dtype": jnp.float32}
    graphdef, _ = abstract_model(Plan(type(model), model.config, tuple(options.items())))
    flat = flat_arrays(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    values = {path: jnp.asarray(array, jnp.float32) for path, array in flat.items()}
    return nnx.merge(graphdef, nested_tree(values))


def _prove(
    model: Any,
    folder: Path,
    answer: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
) -> None:
    """Compares the model with what `answer` says of its files, and keeps the probe."""
    inputs = probe_inputs(model)
    expected = _answers(_in_float32(model), inputs)
    _check_answers(expected, answer(inputs))
    outputs = {f"output.{name}": value for name, value in expected.items()}
    write_safetensors(folder / PROBE, {**inputs, **outputs}, {})


def probe_inputs(model: Any) -> dict[str, np.ndarray]:
    """A small batch that touches every input: two rows of unlike length, two segments.

    Returns:
        int32[B, L] each; int32[B, C, L] for multiple choice.
    """
    config: BertConfig = model.config
    rng = np.random.default_rng(0)
    length = min(_PROBE_LENGTH, config.max_position_embeddings)
    shape: tuple[int, ...] = (2, length)
    if type(model).__name__ == "BertForMultipleChoice":
        shape = (2, _PROBE_CHOICES, length)
    mask = np.ones(shape, np.int32)
    mask[1, ..., length // 2 :] = 0
    types = np.zeros(shape, np.int32)
    types[..., length // 3 :] = config.type_vocab_size - 1
    ids = rng.integers(0, config.vocab_size, shape, dtype=np.int32)
    return dict(zip(INPUTS, (ids, mask, types), strict=True))


def _answers(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(x) for name, x in outputs_of(model, dict(inputs)).items()}


def _check_answers(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Raises RuntimeError where an answer differs, or is not a number."""
    for name in expected.keys() | found.keys():
        if name not in expected or name not in found:
            raise RuntimeError(f"the export was not written: reloaded, it has no {name}")
        if not np.isfinite(expected[name]).all():
            raise RuntimeError(
                f"the export was not written: {name} of this model is not finite; its "
                "weights are broken, take an earlier checkpoint"
            )
        scale = max(1.0, float(np.abs(expected[name]).max()))
        if expected[name].shape != found[name].shape:
            raise RuntimeError(
                f"the export was not written: reloaded, {name} has another shape"
            )
        difference = float(np.abs(expected[name] - found[name]).max())
        if not difference <= _TOLERANCE * scale:
            raise RuntimeError(
                f"the export was not written: reloaded, {name} differs by {difference:g}"
            )
