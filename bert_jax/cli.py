"""`bert-jax VERB …`: verbs to one function call each.

A verb's modules are imported when the verb runs, after its arguments and its
configuration have been read: help and mistakes are answered without JAX.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import pathlib
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import bert_jax
from bert_jax.config_flags import (
    config_fields,
    load_config,
    shipped_configs,
    split_arguments,
)
from bert_jax.strict_fields import ConfigError, unknown_key

if TYPE_CHECKING:
    from bert_jax.config import Config

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
CONFIG_HELP = """\
configuration:
  --config=NAME[:ARG]     a shipped configuration: {shipped}
  --config=FILE.py[:ARG]  a Python file with get_config(); it is executed
  --config=FILE.json      as written to WORKDIR/config.json: the safe way to share
  --config.KEY=VALUE      overrides one field, as --config.train.num_steps=1000;
                          `bert-jax explain` lists them all
"""


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb: its arguments and what runs when they are in order."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Config | None], int]
    takes_config: bool = False


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    del parser  # the configuration says it all


def _prepare(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.data.prepare import default_directory, prepare
    from bert_jax.report.progress import Progress

    assert config is not None
    directory = pathlib.Path(config.data.directory or default_directory(config))
    with Progress() as progress:
        prepare(config, directory, report=progress.bar)
    print(directory)
    return OK


def _add_workdir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir",
        required=True,
        type=pathlib.Path,
        help="folder of the run: checkpoints, metrics, tokenizer",
    )


def _pretrain(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.train.pretrain import pretrain

    assert config is not None
    pretrain(config, args.workdir)
    return OK


def _evaluate(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.train.pretrain import evaluate

    assert config is not None
    print(json.dumps(evaluate(config, args.workdir), indent=2))
    return OK


def _add_fill_mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=pathlib.Path, help="workdir of a pretraining run")
    parser.add_argument("text", nargs="+", help="text with [MASK] in it")
    parser.add_argument("--top-k", type=_positive, default=5, help="tokens to show (5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per text")


def _fill_mask(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.tasks.fill_mask import fill_mask

    answers = fill_mask(args.model, args.text, args.top_k)
    for text, predictions in zip(args.text, answers, strict=True):
        if args.json:
            rows = [dataclasses.asdict(item) for item in predictions]
            print(json.dumps({"text": text, "predictions": rows}, ensure_ascii=False))
            continue
        print(text)
        for item in predictions:
            print(f"  {item.probability:6.1%}  {item.token:<16}  {item.text}")
    return OK


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key", nargs="?", help="a field such as train.num_steps, or a section"
    )


def _explain(args: argparse.Namespace, config: Config | None) -> int:
    fields = config_fields()
    key = "" if args.key is None else args.key.replace("-", "_").removeprefix("config.")
    if key in fields:
        info = fields[key]
        print(f"{info.path}: {info.doc}")
        print(f"  type     {info.type_name}")
        print(f"  default  {json.dumps(info.default)}")
        if info.rule:
            print(f"  rule     {info.rule}")
    inside = (f"{key}.", f"{key}[") if key else ("",)
    shown = [info for path, info in fields.items() if path.startswith(inside)]
    if not shown and key not in fields:
        raise ConfigError([unknown_key(key, list(fields))])
    width = max((len(info.path) for info in shown), default=0)
    for info in shown:
        print(f"{info.path:<{width}}  {info.doc} ({json.dumps(info.default)})")
    return OK


VERBS = {
    "prepare": Verb(
        "corpus to vocabulary to token shards; starts again where it stood",
        _add_prepare,
        _prepare,
        takes_config=True,
    ),
    "pretrain": Verb(
        "the main job; prepares first if need be; the same command again resumes",
        _add_workdir,
        _pretrain,
        takes_config=True,
    ),
    "evaluate": Verb(
        "metrics of a trained model on held-out text, as JSON",
        _add_workdir,
        _evaluate,
        takes_config=True,
    ),
    "fill-mask": Verb(
        "likely tokens for each [MASK], with probabilities", _add_fill_mask, _fill_mask
    ),
    "explain": Verb(
        "what a field of the configuration does; alone: all of them", _add_explain, _explain
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code: 0 done, 1 failed, 2 the user's mistake.

    A ValueError that our own code raises is about the user's input and is told in one
    line each; one that comes out of a library is a defect and shows where it happened.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    shows_trace = os.environ.get("BERT_JAX_TRACEBACK") == "1"
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--traceback" in options:
        arguments.remove("--traceback")
        shows_trace = True
    try:
        return _run(arguments)
    except BrokenPipeError:
        # The reader of standard output has gone (`| head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ValueError, OSError) as error:
        is_mistake = isinstance(error, ValueError) and _is_ours(error)
        if shows_trace or not (is_mistake or isinstance(error, OSError)):
            traceback.print_exc()
        for line in str(error).splitlines():
            print(f"bert-jax: {line}", file=sys.stderr)
        return MISTAKE if is_mistake else FAILED
    except KeyboardInterrupt:
        print("bert-jax: interrupted", file=sys.stderr)
        return INTERRUPTED


def _is_ours(error: BaseException) -> bool:
    """Whether the error was raised by a line of this package."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals["__name__"].split(".")[0] == "bert_jax"


def _run(arguments: Sequence[str]) -> int:
    """Reads the arguments, then the configuration, then runs the verb."""
    if not arguments:
        _main_parser().print_help()
        return MISTAKE
    name = arguments[0].replace("_", "-")
    if name.startswith("-"):
        _main_parser().parse_args(arguments)  # --help and --version end here
        raise ValueError("the verb comes first: bert-jax VERB …")
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{name} is not a verb; there are {', '.join(VERBS)}{hint}")
    verb = VERBS[name]
    rest = _dashed(arguments[1:])
    parser = _verb_parser(name, verb)
    wants_help = "-h" in rest or "--help" in rest
    config_arguments: list[str] = []
    if verb.takes_config and not wants_help:
        config_arguments, rest = split_arguments(rest)
    args = parser.parse_args(rest)
    return verb.run(args, load_config(config_arguments) if verb.takes_config else None)


class _Parser(argparse.ArgumentParser):
    """Says a mistake in one line, as the rest of the program does."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _main_parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    parser = _Parser(
        prog="bert-jax",
        description="Pretrain, fine-tune and reuse BERT in JAX.",
        usage="bert-jax VERB …",
        epilog=f"verbs:\n{verbs}\n\n`bert-jax VERB --help` says more. --traceback, or "
        "BERT_JAX_TRACEBACK=1, shows\nwhere a mistake was found.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"bert-jax {bert_jax.__version__}"
    )
    return parser


def _verb_parser(name: str, verb: Verb) -> argparse.ArgumentParser:
    shipped = textwrap.fill(
        ", ".join(shipped_configs()), width=60, subsequent_indent=" " * 26
    )
    parser = _Parser(
        prog=f"bert-jax {name}",
        description=f"{verb.summary[0].upper()}{verb.summary[1:]}.",
        epilog=CONFIG_HELP.format(shipped=shipped) if verb.takes_config else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_arguments(parser)
    if verb.takes_config:
        usage = parser.format_usage().removeprefix("usage: ").strip()
        parser.usage = usage.replace("[-h]", "[-h] --config=…")
    return parser


def _dashed(arguments: Sequence[str]) -> list[str]:
    """Flags with `-` for `_` in their names; values and everything else as they are."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    dashed = []
    for argument in arguments[:end]:
        name, equals, value = argument.partition("=")
        is_flag = name.startswith("--") and "." not in name
        dashed.append((name.replace("_", "-") if is_flag else name) + equals + value)
    return [*dashed, *arguments[end:]]


def _positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value
