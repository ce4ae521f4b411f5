"""What a naming of weights consists of, and what all namings share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from bert_jax.bert_config import BertConfig
from bert_jax.formats.mapped_file import quoted
from bert_jax.pretrained.weight_layout import (
    Piece,
    Place,
    Shape,
    Shapes,
    kernel,
    table,
    vector,
    whole,
)

# Where our parameters of all layers stand; their arrays have a leading dim of layers.
LAYERS = "bert/encoder/layers"

_QKV = ("query", "key", "value")


@dataclasses.dataclass(frozen=True)
class NameTable:
    """A naming of weights.

    Attributes:
        pieces: (shapes of our parameters, config) → the arrays that they are made of,
            whose names are in the naming's own spelling.
        resolve: names as a file has them → the naming's own spelling, with the file's;
            raises ValueError where there is no single encoder.
        check: raises ValueError where the arrays, by the naming's spelling, contradict
            each other; the second argument has the names that are asked for.
        needless: names of what is no weight or stands under another name too.
        heads: what the names of heads begin with. A head that was not asked for is no
            surprise.
        head_weights: head → a weight that it has, and nothing else.
    """

    pieces: Callable[[Shapes, BertConfig], list[Piece]]
    resolve: Callable[[Iterable[str]], dict[str, str]]
    check: Callable[[Mapping[str, np.ndarray], frozenset[str]], None]
    needless: frozenset[str]
    heads: tuple[str, ...]
    head_weights: Mapping[str, str]


def find_encoder(names: Iterable[str], anchor: str) -> str:
    """What stands before `anchor`, a weight that each encoder has once.

    Raises:
        ValueError: it is not there, or several times.
    """
    ends = (f".{anchor}", f"/{anchor}")
    found = [name for name in names if name == anchor or name.endswith(ends)]
    if len(found) != 1:
        raise ValueError(
            f"the weights must have one {anchor}, that of a BERT; they have "
            f"{', '.join(map(quoted, sorted(found)[:4])) or 'none'}"
        )
    return found[0].removesuffix(anchor)


def parameter_pieces(
    path: str,
    shape: Shape,
    config: BertConfig,
    modules: Mapping[str, str],
    endings: Mapping[str, str],
    *,
    kernels_transposed: bool,
) -> list[Piece]:
    """The pieces of one of our parameters.

    Args:
        path: of the parameter, of a model with heads.
        shape: of the parameter.
        config: the architecture.
        modules: path without its last part → name, with {n} for the number of the layer
            and {part} for query, key or value.
        endings: last part of the path → what the name ends in.
        kernels_transposed: whether kernels are (outputs, inputs).
    """
    module, kind = path.rsplit("/", 1)
    name = modules[module] + endings[kind]
    if not path.startswith(f"{LAYERS}/"):
        return [_piece(name, path, (), shape, config, kernels_transposed)]
    pieces = []
    for n in range(shape[0]):
        if not module.endswith("/qkv"):
            named = name.format(n=n)
            pieces.append(_piece(named, path, (n,), shape[1:], config, kernels_transposed))
            continue
        for i, part in enumerate(_QKV):
            place: Place = (n, i)
            part_shape = shape[2:]
            if kind == "kernel":  # N, D, 3, H, K
                place, part_shape = (n, slice(None), i), (shape[1], *shape[3:])
            named = name.format(n=n, part=part)
            pieces.append(
                _piece(named, path, place, part_shape, config, kernels_transposed)
            )
    return pieces


def _piece(
    name: str,
    path: str,
    place: Place,
    shape: Shape,
    config: BertConfig,
    kernels_transposed: bool,
) -> Piece:
    """A piece of the kind that the path's end tells."""
    if path == "bert/embeddings/word/embedding":
        return table(name, path, config.vocab_size, shape[1])
    if path == "masked_lm/bias":
        return vector(name, path, (slice(0, config.vocab_size),), (config.vocab_size,))
    if path.endswith("/embedding"):
        return table(name, path, *shape)
    if not path.endswith("/kernel"):
        return vector(name, path, place, shape)
    num_inputs = 2 if path.endswith("attention/output/kernel") else 1  # H and K
    return kernel(
        name, path, place, shape, num_inputs=num_inputs, transposed=kernels_transposed
    )


def _own_pieces(shapes: Shapes, config: BertConfig) -> list[Piece]:
    return [whole(path, shape) for path, shape in shapes.items()]


OWN = NameTable(
    pieces=_own_pieces,
    resolve=lambda names: {name: name for name in names},
    check=lambda arrays, wanted: None,
    needless=frozenset(),
    heads=(
        *("bert/pooler/", "masked_lm/", "next_sentence/"),
        *("classifier/", "qa_outputs/"),
    ),
    head_weights={
        "masked_lm": "masked_lm/bias",
        "next_sentence": "next_sentence/bias",
        "classifier": "classifier/bias",
        "qa_outputs": "qa_outputs/bias",
    },
)
