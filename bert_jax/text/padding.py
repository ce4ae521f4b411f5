"""Padding of batches that are already made: examples collected one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.text.call_options import Lengths

_INPUT_IDS = "input_ids"


def collected(
    examples: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], bool, bool]:
    """Examples as columns of plain lists.

    Args:
        examples: a batch, one example, or a list of examples, with lists or arrays.

    Returns:
        The columns, whether it was one example, and whether there were arrays.

    Raises:
        ValueError: there are no input_ids, or the examples differ in their names.
    """
    if isinstance(examples, Mapping):
        columns = dict(examples)
    else:
        names = [list(example) for example in examples]
        if any(set(name) != set(names[0]) for name in names):
            raise ValueError("examples must all have the same names; these differ in them")
        columns = {
            name: [example[name] for example in examples] for name in (names or [[]])[0]
        }
    if _INPUT_IDS not in columns:
        raise ValueError(f"examples must have input_ids; these have {', '.join(columns)}")
    first = columns[_INPUT_IDS]
    arrays = hasattr(first, "shape") or any(hasattr(row, "shape") for row in first)
    lists = {name: _as_list(values) for name, values in columns.items()}
    ids = lists[_INPUT_IDS]
    single = isinstance(examples, Mapping) and not (ids and isinstance(ids[0], list))
    if single:
        lists = {name: [values] for name, values in lists.items()}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have one value for each row; they have {lengths}")
    return lists, single, arrays


def padded(
    columns: dict[str, list[Any]], lengths: Lengths, pad_id: int, with_mask: bool
) -> dict[str, list[Any]]:
    """Columns of rows of tokens, padded; what is not of tokens stays as it is."""
    rows = columns[_INPUT_IDS]
    width = lengths.width(len(row) for row in rows) if lengths.pads else 0
    values = {
        _INPUT_IDS: pad_id,
        "attention_mask": 0,
        "token_type_ids": 0,
        "special_tokens_mask": 1,
    }
    given = dict(columns)
    if with_mask and "attention_mask" not in given:
        given["attention_mask"] = [[1] * len(row) for row in rows]
    missing = [max(0, width - len(row)) for row in rows]
    for name, value in values.items():
        if name not in given:
            continue
        pads = [[value] * count for count in missing]
        pairs = zip(given[name], pads, strict=True)
        left = lengths.padding_left
        given[name] = [pad + row if left else row + pad for row, pad in pairs]
    return given


def _as_list(values: Any) -> Any:
    """Arrays, of JAX's too, and sequences of them, as lists."""
    if hasattr(values, "shape"):
        return np.asarray(values).tolist()
    if isinstance(values, list | tuple):
        return [_as_list(value) for value in values]
    return values
