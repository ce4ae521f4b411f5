"""JSON of strangers: nothing twice, nothing too deep, one line for all errors."""

from __future__ import annotations

import json
from typing import Any

from bert_jax.formats.mapped_file import quoted


def parse_object(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object in which no key stands twice, at any depth.

    Args:
        content: UTF-8. Its length is the caller's to bound.
        what: how an error names the text.

    Raises:
        ValueError: it is something else.
    """
    value = parse_value(content, what)
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object; it is a {type(value).__name__}")
    return value


def parse_value(content: bytes, what: str) -> Any:
    """As `parse_object`, for a value of any type."""
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError(f"{what} must be plain JSON; it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(
            f"{what} must be a JSON object without duplicate keys; "
            f"reading it says {quoted(str(error))}"
        ) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of a JSON object; ValueError where a key comes again."""
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"{quoted(key)} stands twice")
            seen.add(key)
    return values
