"""A checkpoint's arrays as a model: matched by name, copied once, straight into place."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from bert_jax.bert_config import BertConfig
from bert_jax.formats import hashes
from bert_jax.formats.weights import Weights
from bert_jax.parallel.rules import rules_for, tree_shardings
from bert_jax.pretrained.load_report import LoadReport, listed
from bert_jax.pretrained.name_table import OWN
from bert_jax.pretrained.sources import Source
from bert_jax.pretrained.trees import flat_tree, nested_tree
from bert_jax.pretrained.weight_layout import Piece, Shape, read_block

_ENCODER = "bert/"
_POOLER = "bert/pooler/"  # a head: many checkpoints have none


@dataclasses.dataclass(frozen=True)
class _Parameter:
    """One array of the model: where it lives, and what of the checkpoint it is made of.

    `sharding` is None for the default device.
    """

    shape: Shape
    sharding: NamedSharding | None
    pieces: tuple[Piece, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to build.

    Attributes:
        cls: a class of networks.
        config: the architecture.
        options: other arguments of the class, as pairs.
    """

    cls: Any
    config: BertConfig
    options: tuple[tuple[str, Any], ...]

    def make(self) -> Any:
        """The model at its random start."""
        return self.cls(self.config, rngs=nnx.Rngs(0), **dict(self.options))


@functools.lru_cache(maxsize=8)  # tracing a model takes as long as copying its weights
def abstract_model(plan: Plan) -> tuple[Any, Any]:
    """The model without numbers: its structure, and nested dicts of shapes."""
    graphdef, abstract = nnx.split(nnx.eval_shape(plan.make))
    return graphdef, nnx.to_pure_dict(abstract)


def load_model(plan: Plan, source: Source, mesh: Mesh | None) -> tuple[Any, LoadReport]:
    """A model with the weights of a checkpoint.

    Each parameter is allocated once and filled straight from the file; over a mesh, only
    the blocks of the devices of this process are.

    Args:
        plan: the model to build.
        source: the checkpoint.
        mesh: where the parameters are to be divided; None for the default device.

    Returns:
        The model, and what did not fit.

    Raises:
        ValueError: the checkpoint lacks weights of the encoder, or has them in another
            shape or as integers, or its files are not those of its list of hashes.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        arrays = _Renamed(source)
        _check_layers(source, plan.config)
        checked = source.files and pool.submit(
            hashes.check_hashes,
            source.files[0].parent,
            [file.name for file in source.files],
        )
        graphdef, abstract = abstract_model(plan)
        parameters = _parameters(abstract, source, plan.config, mesh)
        report = _compare(parameters, arrays, source)
        source.names.check(arrays, frozenset(_wanted(parameters)))
        fresh = _unfit(parameters, report)
        values = {
            path: _placed(parameter, arrays)
            for path, parameter in parameters.items()
            if path not in fresh
        }
        if checked:
            checked.result()
    values |= _initial(plan, {path: parameters[path].sharding for path in fresh})
    return nnx.merge(graphdef, nested_tree(values)), report


def _check_layers(source: Source, config: BertConfig) -> None:
    """Raises ValueError where the file cannot have as many layers, before listing them."""
    is_stacked = source.names is OWN
    if not is_stacked and config.num_hidden_layers > len(source.arrays):
        raise ValueError(
            f"{source.path} must have all weights of num_hidden_layers="
            f"{config.num_hidden_layers}; it has {len(source.arrays)} arrays"
        )


class _Renamed(Mapping[str, np.ndarray]):
    """The arrays of a checkpoint by the names that its naming spells."""

    def __init__(self, source: Source):
        self.arrays = source.arrays
        self.own_names = source.names.resolve(source.arrays)
        if isinstance(self.arrays, Weights):  # which knows without reading a value
            self._shapes = self.arrays.shapes
        else:
            self._shapes = {name: array.shape for name, array in self.arrays.items()}

    def shape(self, name: str) -> Shape:
        """Of an array."""
        return self._shapes[self.own_names[name]]

    def __getitem__(self, name: str) -> np.ndarray:
        array = self.arrays[self.own_names[name]]
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"{name} has dtype={array.dtype}; it must be of floating point: weights "
                "that were quantised are not read"
            )
        return array

    def __contains__(self, name: object) -> bool:
        return name in self.own_names

    def __iter__(self) -> Iterator[str]:
        return iter(self.own_names)

    def __len__(self) -> int:
        return len(self.own_names)


def _parameters(
    tree: Any, source: Source, config: BertConfig, mesh: Mesh | None
) -> dict[str, _Parameter]:
    """Path → what is to be known of the parameter."""
    shapes = {path: leaf.shape for path, leaf in flat_tree(tree).items()}
    shardings: dict[str, NamedSharding | None] = dict.fromkeys(shapes)
    if mesh is not None:
        placed = jax.tree.leaves(tree_shardings(tree, mesh, rules_for(tree)))
        shardings = dict(zip(shapes, placed, strict=True))
    # The encoder alone has its parameters at the top.
    prefix = "" if "bert" in tree else _ENCODER
    pieces: dict[str, list[Piece]] = {path: [] for path in shapes}
    named = {f"{prefix}{path}": shape for path, shape in shapes.items()}
    for piece in source.names.pieces(named, config):
        pieces[piece.path.removeprefix(prefix)].append(piece)
    return {
        path: _Parameter(shape, shardings[path], tuple(pieces[path]))
        for path, shape in shapes.items()
    }


def _wanted(parameters: Mapping[str, _Parameter]) -> dict[str, Piece]:
    """Name → piece, of all that the model is made of."""
    return {p.name: p for parameter in parameters.values() for p in parameter.pieces}


def _compare(
    parameters: Mapping[str, _Parameter], arrays: _Renamed, source: Source
) -> LoadReport:
    """What does not fit; ValueError where that is part of the encoder."""
    wanted = _wanted(parameters)
    missing = [piece for name, piece in wanted.items() if name not in arrays]
    mis_shaped = [
        piece
        for name, piece in wanted.items()
        if name in arrays and arrays.shape(name) != piece.file_shape
    ]
    lacking = [piece.name for piece in missing if _is_encoder(piece)]
    if lacking:
        raise ValueError(
            f"{source.path} must have all weights of the encoder that its configuration "
            f"describes; it lacks {listed(lacking)}"
        )
    other = [
        f"{piece.name} has shape {arrays.shape(piece.name)}, not {piece.file_shape}"
        for piece in mis_shaped
        if _is_encoder(piece)
    ]
    if other:
        raise ValueError(
            f"{source.path} must fit the model that its configuration and the given fields "
            f"describe; {listed(other)}"
        )
    known = {*wanted, *source.names.needless}
    unread = {name: own for name, own in arrays.own_names.items() if name not in known}
    heads = source.names.heads
    return LoadReport(
        path=str(source.path),
        missing=tuple(piece.name for piece in missing),
        mis_shaped=tuple(
            (piece.name, arrays.shape(piece.name), piece.file_shape) for piece in mis_shaped
        ),
        other_heads=tuple(own for name, own in unread.items() if name.startswith(heads)),
        unexpected=tuple(own for name, own in unread.items() if not name.startswith(heads)),
    )


def _is_encoder(piece: Piece) -> bool:
    return piece.path.startswith(_ENCODER) and not piece.path.startswith(_POOLER)


def _unfit(parameters: Mapping[str, _Parameter], report: LoadReport) -> set[str]:
    """Paths of the parameters that the checkpoint cannot fill."""
    names = {*report.missing, *(name for name, *_ in report.mis_shaped)}
    return {
        path
        for path, parameter in parameters.items()
        if any(piece.name in names for piece in parameter.pieces)
    }


def _placed(parameter: _Parameter, arrays: Mapping[str, np.ndarray]) -> jax.Array:
    """The parameter on its devices; blocks that several devices hold are read once."""
    blocks: dict[tuple[tuple[int, int], ...], np.ndarray] = {}

    def block(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None  # it would be for an array that lives elsewhere
        sizes = zip(index, parameter.shape, strict=True)
        key = tuple(part.indices(size)[:2] for part, size in sizes)
        if key not in blocks:
            blocks[key] = read_block(parameter.shape, index, parameter.pieces, arrays)
        return blocks[key]

    if parameter.sharding is None:
        return jax.device_put(block((slice(None),) * len(parameter.shape)))
    return jax.make_array_from_callback(parameter.shape, parameter.sharding, block)


def _initial(
    plan: Plan, shardings: Mapping[str, NamedSharding | None]
) -> dict[str, jax.Array]:
    """Some parameters at the model's random start; the others are not computed."""
    if not shardings:
        return {}

    def draw() -> dict[str, jax.Array]:
        drawn = flat_tree(nnx.to_pure_dict(nnx.state(plan.make())))
        return {path: drawn[path] for path in shardings}

    whole = any(sharding is None for sharding in shardings.values())
    return jax.jit(draw, out_shardings=None if whole else dict(shardings))()
