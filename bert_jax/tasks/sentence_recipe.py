"""How a folder of sentence-transformers makes its vectors: three small files of JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from bert_jax.formats.strict_json import parse_object, parse_value

Pooling = Literal["mean", "cls"]

_MODULES = "modules.json"
_SETTINGS = "sentence_bert_config.json"
_KINDS = ("Transformer", "Pooling", "Normalize")
_POOLINGS: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls"}
_MODE = "pooling_mode_"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is done with the vectors of the tokens.

    Attributes:
        pooling: "mean" of the tokens' vectors, or that of "cls".
        normalize: whether vectors have length 1.
        max_length: tokens to read of a text; None for all that the model can take.
        files: paths, inside the folder, of the files that say so.
    """

    pooling: Pooling = "mean"
    normalize: bool = False
    max_length: int | None = None
    files: tuple[str, ...] = ()


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a folder; the defaults where it has none.

    Raises:
        ValueError: the vectors are made in a way that is not known here, or the files are
            not what sentence-transformers writes.
    """
    recipe = Recipe()
    if (folder / _SETTINGS).is_file():
        settings = parse_object(_content(folder / _SETTINGS), str(folder / _SETTINGS))
        length = settings.get("max_seq_length")
        if length is not None and (type(length) is not int or length < 3):
            raise ValueError(
                f"{folder / _SETTINGS}: max_seq_length={length!r} must be a whole number, "
                "at least 3"
            )
        recipe = dataclasses.replace(recipe, max_length=length, files=(_SETTINGS,))
    if not (folder / _MODULES).is_file():
        return recipe
    places = _modules(folder / _MODULES)
    pooling_file = f"{places.get('Pooling', '1_Pooling')}/config.json"
    return dataclasses.replace(
        recipe,
        pooling=_pooling(folder / pooling_file),
        normalize="Normalize" in places,
        files=(*recipe.files, _MODULES, pooling_file),
    )


def _modules(path: Path) -> dict[str, str]:
    """Kind of module → its folder, which lies beside the file."""
    modules: Any = parse_value(_content(path), str(path))
    try:
        places = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    except (TypeError, KeyError, AttributeError):
        places = {}
    plain = all(isinstance(p, str) and not set(p) & set("/\\\0") for p in places.values())
    if not places or not plain or ".." in places.values():
        raise ValueError(
            f"{path} must be a list of modules, each with type and path, as "
            "sentence-transformers writes it"
        )
    unknown = sorted(set(places) - set(_KINDS))
    if unknown:
        raise ValueError(
            f"{path} has {', '.join(unknown)}, which is not computed here; set pooling and "
            "normalize yourself on a copy without that file"
        )
    return places


def _pooling(path: Path) -> Pooling:
    settings = parse_object(_content(path), str(path))
    modes = sorted(
        name.removeprefix(_MODE)
        for name, value in settings.items()
        if name.startswith(_MODE) and value is True
    )
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ValueError(
            f"{path} asks for {', '.join(modes) or 'no pooling'}; it must be one of "
            f"{', '.join(_POOLINGS)}"
        )
    return _POOLINGS[modes[0]]


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"{path} must be there, as {_MODULES} says; fetch it")
    return path.read_bytes()
