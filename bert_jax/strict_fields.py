"""Frozen dataclasses from nested plain values, strictly; knows no particular dataclass.

A field declares its documentation and its rules beside its default (`field`). Reading
collects every problem, one line each: path, value, rule and remedy. Standard library
only, so that a mistake is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# rule -> (how it is said, whether a value keeps it)
_RULES: Mapping[str, tuple[str, Any]] = types.MappingProxyType(
    {
        "low": ("at least {}", lambda value, bound: value >= bound),
        "high": ("at most {}", lambda value, bound: value <= bound),
        "above": ("above {}", lambda value, bound: value > bound),
        "below": ("below {}", lambda value, bound: value < bound),
        "pattern": ("{0[1]}", lambda value, pattern: re.fullmatch(pattern[0], value)),
    }
)


class ConfigError(ValueError):
    """One or more fields of a configuration are impossible; one line for each."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def field(default: Any, doc: str, **rules: Any) -> Any:
    """A dataclass field with its documentation and rules.

    `low`/`high` are inclusive bounds, `above`/`below` exclusive ones, `choices` a tuple,
    `pattern` a pair of a regular expression and its meaning in words.
    """
    assert rules.keys() <= {*_RULES, "choices"}, f"unknown rules: {sorted(rules)}"
    return dataclasses.field(default=default, metadata={"doc": doc, **rules})


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """What is known of one field; `path` is as on the command line: `data.seed`."""

    path: str
    type_name: str
    default: Any
    doc: str
    rule: str


def walk_fields(cls: Any, prefix: str = "") -> Iterator[FieldInfo]:
    """The fields of dataclass `cls` and of those inside it, in the order written.

    The fields of a list's items stand under `LIST[0].`.
    """
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        path, hint = f"{prefix}{item.name}", hints[item.name]
        if dataclasses.is_dataclass(hint):
            yield from walk_fields(hint, f"{path}.")
            continue
        inner = _item_class(hint)
        type_name = "list" if inner or _is_strings(hint) else _value_type(hint).__name__
        rule = ", ".join(_rules_in_words(item.metadata))
        yield FieldInfo(path, type_name, plain(item.default), item.metadata["doc"], rule)
        if inner:
            yield from walk_fields(inner, f"{path}[0].")


def plain(value: Any) -> Any:
    """Dataclasses and tuples as dicts and lists, as JSON has them."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def build(cls: Any, values: Any) -> tuple[Any, list[str]]:
    """An instance of dataclass `cls` from nested values, and the problems they have.

    Each field is looked at alone. Where there are problems, the instance is unfit for use.
    """
    reader = _Reader(cls)
    return reader.group(cls, values, ""), reader.problems


def unknown_key(path: str, known: Sequence[str]) -> str:
    """One line about a key that does not exist: the nearest one, or its neighbours."""
    section, _, leaf = path.rpartition(".")
    leaves = {name: name.rsplit(".", 1)[-1] for name in known}
    near_leaves = difflib.get_close_matches(leaf, leaves.values(), n=1, cutoff=0.65)
    candidates = [name for name in known if leaves[name] in near_leaves]
    neighbours = [leaves[name] for name in known if name.rpartition(".")[0] == section]
    hint = ""
    if candidates:
        hint = f"; did you mean {difflib.get_close_matches(path, candidates, 1, 0.0)[0]}?"
    elif neighbours:
        hint = f"; {section or 'it'} has {', '.join(neighbours)}"
    return f"{path} is not a field of the configuration{hint}"


def _item_class(hint: Any) -> Any:
    """The dataclass of which `hint`, tuple[…, ...], holds many; else None."""
    arguments = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    return arguments[0] if arguments and dataclasses.is_dataclass(arguments[0]) else None


def _is_strings(hint: Any) -> bool:
    """Whether `hint` is tuple[str, ...]."""
    return typing.get_origin(hint) is tuple and typing.get_args(hint)[0] is str


def _value_type(hint: Any) -> Any:
    """The type of a value that is not None."""
    return next(
        item for item in typing.get_args(hint) or (hint,) if item is not types.NoneType
    )


def _rules_in_words(rules: Mapping[str, Any]) -> list[str]:
    """The rules of a field as a user reads them."""
    words = [
        text.format(rules[name]) for name, (text, _) in _RULES.items() if name in rules
    ]
    if "choices" in rules:
        words.append(f"one of {', '.join(rules['choices'])}")
    return words


class _Reader:
    """Reads values into dataclasses and gathers what is wrong with them."""

    def __init__(self, cls: Any):
        self.known = [info.path for info in walk_fields(cls)]
        self.known += list(dict.fromkeys(p.split(".")[0] for p in self.known if "." in p))
        self.problems: list[str] = []

    def group(self, cls: Any, values: Any, prefix: str) -> Any:
        """An instance of dataclass `cls`; what is absent is default."""
        if isinstance(values, cls):
            return values
        if not isinstance(values, Mapping):
            name = prefix.rstrip(".") or "the configuration"
            self.problems.append(f"{name}={values!r} must be a group of fields")
            return cls()
        fields = {item.name: item for item in dataclasses.fields(cls)}
        hints = typing.get_type_hints(cls)
        built = {}
        for key, value in values.items():
            path = f"{prefix}{key}"
            if key not in fields:
                self.problems.append(unknown_key(path, self.known))
            elif dataclasses.is_dataclass(hints[key]):
                built[key] = self.group(hints[key], value, f"{path}.")
            elif _item_class(hints[key]):
                built[key] = self.items(_item_class(hints[key]), value, path)
            elif _is_strings(hints[key]):
                built[key] = self.strings(value, path)
            else:
                built[key] = self.value(path, value, hints[key], fields[key].metadata)
        return cls(**built)

    def items(self, cls: Any, value: Any, path: str) -> tuple[Any, ...]:
        """A tuple of `cls` from a list; a bare string stands for the first field of one."""
        if isinstance(value, str | Mapping):
            value = [value]
        if not isinstance(value, Sequence) or isinstance(value, bytes) or not value:
            self.problems.append(f"{path}={value!r} must be a list; give at least one item")
            return ()
        first = dataclasses.fields(cls)[0].name
        items = [{first: item} if isinstance(item, str) else item for item in value]
        return tuple(self.group(cls, item, f"{path}[{i}].") for i, item in enumerate(items))

    def strings(self, value: Any, path: str) -> tuple[str, ...]:
        """A tuple of strings from a list; a bare string is one."""
        values = [value] if isinstance(value, str) else value
        is_list = isinstance(values, Sequence) and not isinstance(values, bytes)
        if not is_list or not all(isinstance(item, str) and item for item in values):
            self.problems.append(f"{path}={_short(value)} must be a list of strings")
            return ()
        return tuple(values)

    def value(self, path: str, value: Any, hint: Any, rules: Mapping[str, Any]) -> Any:
        """`value` as the type `hint` says, its rules checked."""
        if value is None and types.NoneType in typing.get_args(hint):
            return None
        kind = _value_type(hint)
        if kind is float and type(value) is int and abs(value) < 2**1023:
            value = float(value)
        if type(value) is not kind:
            self.problems.append(f"{path}={_short(value)} must be of type {kind.__name__}")
            return value
        broken = _broken_rule(value, rules)
        if broken:
            self.problems.append(f"{path}={_short(value)} must be {broken}")
        return value


def _short(value: Any) -> str:
    """`repr`, on one line and not endless."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _broken_rule(value: Any, rules: Mapping[str, Any]) -> str | None:
    """The rule that `value` breaks, in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if "choices" in rules and value not in rules["choices"]:
        near = difflib.get_close_matches(value, rules["choices"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"one of {', '.join(rules['choices'])}{hint}"
    for name, (text, keeps) in _RULES.items():
        if name in rules and not keeps(value, rules[name]):
            return str(text.format(rules[name]))
    return None
