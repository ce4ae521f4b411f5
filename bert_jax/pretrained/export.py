"""A trained model as a folder that others load, proved by loading it again.

Shapes: B batch, C choices, L length.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.bert_config import BertConfig
from bert_jax.formats.hashes import write_hashes
from bert_jax.formats.safetensors_files import write_safetensors
from bert_jax.pretrained.model_card import Origin, model_card
from bert_jax.pretrained.stablehlo import (
    INPUTS,
    outputs_of,
    run_stablehlo,
    serialize_stablehlo,
)
from bert_jax.text.bert_tokenizer import BertTokenizer

PROBE = "probe.safetensors"
STABLEHLO = "model.stablehlo"
_PROBE_LENGTH = 12
_PROBE_CHOICES = 2

# A program compiled for other shapes may add in another order, and no more than that.
_TOLERANCE = 1e-5


def export_hugging_face(
    model: Any, tokenizer: BertTokenizer | None, destination: Path, origin: Origin
) -> None:
    """Writes weights, configuration, tokenizer, model card, probe and hashes.

    Args:
        model: of any class of `bert_jax.pretrained.classes`, computing in float32.
        tokenizer: its tokenizer, if there is one.
        destination: a folder that is absent or empty; it appears whole or not at all.
        origin: what the model card says of the model.

    Raises:
        ValueError: the destination is taken.
        RuntimeError: the folder, loaded again, gives other numbers.
    """

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        card = model_card(type(model).__name__, model.config, origin)
        (folder / "README.md").write_text(card, encoding="utf-8")

    def answer(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        options = {}
        if type(model).__name__ == "BertModel":
            options["add_pooling_layer"] = model.pooler is not None
        return _answers(type(model).from_pretrained(folder, **options), inputs)

    _export(model, destination, write, answer)


def export_stablehlo(model: Any, destination: Path) -> None:
    """Writes one artifact for `jax.export`, a probe and hashes.

    Args:
        model: of any class but multiple choice, computing in float32.
        destination: as for `export_hugging_face`.

    Raises:
        ValueError: the destination is taken, or the model too large for one artifact.
        RuntimeError: the artifact gives other numbers.
    """

    def write(folder: Path) -> None:
        artifact = serialize_stablehlo(model, model.config.max_position_embeddings)
        (folder / STABLEHLO).write_bytes(artifact)

    def answer(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run_stablehlo(folder / STABLEHLO, inputs)

    _export(model, destination, write, answer)


def check_destination(destination: Path) -> None:
    """Raises ValueError where something stands already that would have to go."""
    is_free = not destination.exists() or (
        destination.is_dir() and not any(destination.iterdir())
    )
    if not is_free:
        raise ValueError(
            f"destination={destination} must be absent or an empty folder; choose another"
        )


def _export(
    model: Any,
    destination: Path,
    write: Callable[[Path], None],
    answer: Callable[[Path, dict[str, np.ndarray]], dict[str, np.ndarray]],
) -> None:
    """Writes into a folder beside the destination, checks it, and only then renames it."""
    check_destination(destination)
    inputs = probe_inputs(model)
    expected = _answers(model, inputs)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{destination.name}.", dir=destination.parent, ignore_cleanup_errors=True
    ) as scratch:
        folder = Path(scratch) / "export"
        folder.mkdir()
        write(folder)
        _check_answers(expected, answer(folder, inputs))
        outputs = {f"output.{name}": value for name, value in expected.items()}
        write_safetensors(folder / PROBE, {**inputs, **outputs}, {})
        write_hashes(folder, sorted(path.name for path in folder.iterdir()))
        if destination.exists():
            destination.rmdir()
        shutil.move(folder, destination)


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
