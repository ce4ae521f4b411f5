"""`--config=…` and `--config.key=value` from a command line to a `Config`.

Overrides are parsed by `ml_collections.config_flags` on a FlagValues of their own, so
that nothing global is touched. Every mistake is one line; none needs JAX.
"""

from __future__ import annotations

import difflib
import importlib.util
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict, config_flags

from bert_jax.config import Config
from bert_jax.strict_fields import (
    ConfigError,
    FieldInfo,
    build,
    plain,
    unknown_key,
    walk_fields,
)

_FLAG = re.compile(r"--?(no)?config(?P<path>\.[^=]+)?(?P<value>=.*)?", re.DOTALL)
_ZERO = {"int": 0, "float": 0.0, "str": "", "bool": False}


def config_fields() -> dict[str, FieldInfo]:
    """Every field of a configuration by its path, in the order of `Config`."""
    return {info.path: info for info in walk_fields(Config)}


def shipped_configs() -> dict[str, pathlib.Path]:
    """The shipped configurations by name: of the installed package, or of the checkout."""
    package = pathlib.Path(__file__).resolve().parent
    installed = package / "configs"
    folder = installed if installed.is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}


def split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments that are about the configuration, and the others, in their order.

    A value that stands in an argument of its own is joined: `--config NAME` comes back
    as `--config=NAME`. What follows a bare `--` is left alone.
    """
    fields = config_fields()
    ours: list[str] = []
    others: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        match = _FLAG.fullmatch(argument)
        if argument == "--":
            return ours, [*others, argument, *rest]
        if match is None:
            others.append(argument)
            continue
        path = (match["path"] or "").removeprefix(".").replace("-", "_")
        is_switch = path in fields and fields[path].type_name == "bool"
        value = match["value"]
        if value is None and not is_switch and match[1] is None:
            if not rest:
                raise ConfigError([f"{argument} needs a value: {argument}=…"])
            value = f"={rest.pop(0)}"
        ours.append(f"--{match[1] or ''}config{'.' if path else ''}{path}{value or ''}")
    return ours, others


def load_config(argv: Sequence[str]) -> Config:
    """The configuration that `--config=…` and `--config.key=value` arguments describe.

    Args:
        argv: arguments after the verb. `--config` takes the name of a shipped
            configuration or a path to a .py file, either with `:ARGUMENT` for its
            `get_config`, or a .json file as written to WORKDIR/config.json.

    Raises:
        ConfigError: whatever is wrong, one line for each mistake.
    """
    arguments, others = split_arguments(argv)
    if others:
        raise ConfigError([f"{others[0]} is not an argument of a configuration"])
    names = [item.split("=", 1)[1] for item in arguments if item.startswith("--config=")]
    overrides = [item for item in arguments if not item.startswith("--config=")]
    if len(names) != 1:
        count = "once, not several times" if names else "with a name or a file"
        shipped = ", ".join(shipped_configs())
        raise ConfigError([f"--config must be given {count}; shipped: {shipped}"])
    base, problems = build(Config, _base_values(names[0]))
    if problems:
        raise ConfigError([f"{names[0]}: {problem}" for problem in problems])
    values, problems = _override(base, overrides)
    problems += [line for line in build(Config, values)[1] if line not in problems]
    if problems:
        raise ConfigError(problems)
    return Config.from_dict(values)


def _base_values(name: str) -> Mapping[str, Any]:
    """What `--config=name` holds, before overrides."""
    match = re.fullmatch(r"(?P<path>.*\.py|[^:]*)(:(?P<argument>.*))?", name, re.DOTALL)
    if name.endswith(".json"):
        path = pathlib.Path(name)
        if not path.is_file():
            raise ConfigError([f"--config={name}: no such file"])
        return Config.from_json(
            path.read_text(encoding="utf-8", errors="replace")
        ).to_dict()
    assert match is not None
    if match["path"].endswith(".py"):
        path = pathlib.Path(match["path"])
        if not path.is_file():
            raise ConfigError([f"--config={name}: no such file: {path}"])
    else:
        shipped = shipped_configs()
        key = match["path"].replace("-", "_")
        if key not in shipped:
            near = difflib.get_close_matches(key, shipped, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else "a file's name ends in .py or .json"
            )
            raise ConfigError(
                [f"--config={name} must be one of {', '.join(shipped)}, or a file; {hint}"]
            )
        path = shipped[key]
    return _run_config_file(path, match["argument"])


def _make_shipped_importable() -> None:
    """`from bert_jax.configs import …` in a checkout, where they lie beside the package."""
    name = "bert_jax.configs"
    if importlib.util.find_spec(name) is None:
        folder = next(iter(shipped_configs().values())).parent
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


def _run_config_file(path: pathlib.Path, argument: str | None) -> Mapping[str, Any]:
    """The values that `get_config` of a Python file returns."""
    _make_shipped_importable()
    spec = importlib.util.spec_from_file_location(f"bert_jax_config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    arguments = () if argument is None else (argument,)
    try:
        spec.loader.exec_module(module)
        values = module.get_config(*arguments)
    except ConfigError:
        raise
    except Exception as error:  # the file is the user's program: it may raise anything
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        what = " ".join(f"{kind}{error}".split())
        raise ConfigError([f"{path}: {what}"]) from error
    if isinstance(values, Config):
        return values.to_dict()
    if isinstance(values, config_dict.ConfigDict):
        return dict(values.to_dict())
    if isinstance(values, Mapping):
        return values
    raise ConfigError(
        [f"{path}: get_config() must return a ConfigDict, not {type(values).__name__}"]
    )


def _override(base: Config, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Values of `base` with the overrides applied, and what is wrong with these."""
    flat = {info.path: info for info in walk_fields(Config)}
    typed = _typed_values(base, flat)
    problems: list[str] = []
    by_path: dict[str, list[str]] = {}
    for argument in overrides:
        path = argument.split("=", 1)[0].split(".", 1)[1]
        by_path.setdefault(path, []).append(argument)
    for path, arguments in by_path.items():
        general = re.sub(r"\[\d+\]", "[0]", path)
        if general not in flat:
            problems.append(_unknown_override(path, list(flat)))
            continue
        flag_values = flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict(
                "config", typed, flag_values=flag_values, sys_argv=["", *arguments]
            )
            flag_values(["", *arguments])
        except IndexError:
            problems.append(
                f"{path}: data.sources has only {len(base.data.sources)} item(s)"
            )
        except (flags.Error, TypeError, ValueError):
            given = arguments[-1].partition("=")[2]
            problems.append(f"{path}={given!r} must be of type {flat[general].type_name}")
    return typed.to_dict(), problems


def _unknown_override(path: str, known: Sequence[str]) -> str:
    """One line about an override of something that is not a field."""
    inside = [name for name in known if name.startswith((f"{path}.", f"{path}["))]
    if inside:
        return f"{path} is a group of fields; set one of them: --config.{inside[0]}=…"
    return unknown_key(path, known)


def _typed_values(base: Config, flat: Mapping[str, FieldInfo]) -> config_dict.ConfigDict:
    """`base` as a ConfigDict that knows the type of every field, also of those at None."""
    plain_values = plain(base)
    for name in ("sources", "decontaminate"):  # a list has no parser
        plain_values["data"][name] = tuple(plain_values["data"][name])
    values = config_dict.ConfigDict(plain_values)
    for path, info in flat.items():
        if "[" not in path and info.type_name in _ZERO:
            *sections, name = path.split(".")
            group = values[sections[0]] if sections else values
            if group[name] is None:
                group[name] = config_dict.placeholder(type(_ZERO[info.type_name]))
    return values
