"""`bert-jax VERB …`: arguments to verbs, errors to exit codes.

A verb runs after its arguments and its configuration have been read: help and mistakes
are answered without JAX.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

import bert_jax
from bert_jax.config_flags import load_config, shipped_configs, split_arguments
from bert_jax.verbs import VERBS, Verb

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
CONFIG_HELP = """\
configuration:
  --config=NAME[:ARG]     a shipped configuration: {shipped}
  --config=FILE.py[:ARG]  a Python file with get_config(); it is executed
  --config=FILE.json      as written to WORKDIR/config.json: the safe way to share
  --config.KEY=VALUE      overrides one field, as --config.train.num_steps=1000;
                          `bert-jax explain` lists them all
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code: 0 done, 1 failed, 2 the user's mistake.

    An error that our own code raises is told in one line; a ValueError among them is
    about the user's input. What comes out of a library is a defect and shows where.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    shows_trace = os.environ.get("BERT_JAX_TRACEBACK") == "1"
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--traceback" in options:
        arguments.remove("--traceback")
        shows_trace = True
    warnings.formatwarning = lambda message, *_: f"bert-jax: warning: {message}\n"
    try:
        return _run(arguments)
    except BrokenPipeError:
        # The reader of standard output has gone (`| head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ValueError, RuntimeError, OSError) as error:
        is_told = isinstance(error, OSError) or _is_ours(error)
        if shows_trace or not is_told:
            traceback.print_exc()
        for line in str(error).splitlines():
            print(f"bert-jax: {line}", file=sys.stderr)
        return MISTAKE if is_told and isinstance(error, ValueError) else FAILED
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
    if verb.config != "none" and not wants_help:
        config_arguments, rest = split_arguments(rest)
    args = parser.parse_args(rest)
    config = None
    if config_arguments or verb.config == "required":
        config = load_config(config_arguments)
    return verb.run(args, config)


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
        epilog=CONFIG_HELP.format(shipped=shipped) if verb.config != "none" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_arguments(parser)
    if verb.config != "none":
        flag = "--config=…" if verb.config == "required" else "[--config=…]"
        usage = parser.format_usage().removeprefix("usage: ").strip()
        parser.usage = usage.replace("[-h]", f"[-h] {flag}")
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
