"""What each verb of the command line does: one function call, imported when it runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from bert_jax.config_flags import config_fields
from bert_jax.strict_fields import ConfigError, unknown_key

if TYPE_CHECKING:
    from bert_jax.config import Config
    from bert_jax.tasks.fill_mask import Prediction
    from bert_jax.train.pretrain import Outcome

OK = 0
EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb: its arguments and what runs when they are in order."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Config | None], int]
    config: Literal["required", "optional", "none"] = "none"


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    del parser  # the configuration says it all


def _prepare(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.data.prepare import data_directory, prepare
    from bert_jax.report.progress import Progress

    assert config is not None
    directory = data_directory(config)
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
    from bert_jax.report.progress import Progress
    from bert_jax.train.pretrain import pretrain

    assert config is not None
    with Progress() as progress:
        outcome = pretrain(config, args.workdir, progress)
    _tell_outcome(args.workdir, outcome)
    return OK


def _tell_outcome(workdir: pathlib.Path, outcome: Outcome) -> None:
    """Where the model is, how good it is, and what it fills in."""
    from bert_jax.tasks.fill_mask import fill_mask, held_out_examples
    from bert_jax.text.tokenizer import load_tokenizer
    from bert_jax.train.workdir import TOKENIZER, load_config_of

    print(f"\nThe model is in {workdir}. On held-out text:")
    for name, metrics in (
        ("this model", outcome.metrics),
        ("before training", outcome.untrained),
        ("word frequencies", outcome.unigram),
    ):
        if metrics is None:
            continue
        shown = "  ".join(f"{key} {value:.3f}" for key, value in metrics.items())
        print(f"  {name:<16}  {shown}")
    print(f"  {outcome.nats_below_unigram:.2f} nats below word frequencies\n")
    data = pathlib.Path(load_config_of(workdir).data.directory)
    texts = held_out_examples(data, load_tokenizer(workdir / TOKENIZER), EXAMPLES)
    if texts:
        _tell_predictions(zip(texts, fill_mask(workdir, texts, EXAMPLES), strict=True))
        print(f'\nYour own: bert-jax fill-mask {workdir} "… [MASK] …"')


def _evaluate(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.train.pretrain import evaluate

    print(json.dumps(evaluate(config, args.workdir), indent=2))
    return OK


def _add_fill_mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=pathlib.Path, help="workdir of a pretraining run")
    parser.add_argument("text", nargs="+", help="text with [MASK] in it")
    parser.add_argument(
        "--top-k",
        type=_positive,
        default=5,
        help="tokens to show (5), at most all of the vocabulary",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per text")


def _fill_mask(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.tasks.fill_mask import fill_mask

    answers = fill_mask(args.model, args.text, args.top_k)
    if not args.json:
        _tell_predictions(zip(args.text, answers, strict=True))
        return OK
    for text, predictions in zip(args.text, answers, strict=True):
        rows = [dataclasses.asdict(item) for item in predictions]
        print(json.dumps({"text": text, "predictions": rows}, ensure_ascii=False))
    return OK


def _tell_predictions(answers: Iterable[tuple[str, list[Prediction]]]) -> None:
    """Each text with what could stand in its [MASK]."""
    for text, predictions in answers:
        print(text)
        for item in predictions:
            print(f"  {item.probability:6.1%}  {item.token:<16}  {item.text}")


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


def _positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value


VERBS = {
    "prepare": Verb(
        "corpus to vocabulary to token shards; starts again where it stood",
        _add_prepare,
        _prepare,
        config="required",
    ),
    "pretrain": Verb(
        "the main job; prepares first if need be; the same command again resumes",
        _add_workdir,
        _pretrain,
        config="required",
    ),
    "evaluate": Verb(
        "metrics of a trained model on held-out text, as JSON",
        _add_workdir,
        _evaluate,
        config="optional",
    ),
    "fill-mask": Verb(
        "likely tokens for each [MASK], with probabilities", _add_fill_mask, _fill_mask
    ),
    "explain": Verb(
        "what a field of the configuration does; alone: all of them", _add_explain, _explain
    ),
}
