"""What each verb of the command line does: one function call, imported when it runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from bert_jax import doctor_verb, model_verbs, plan_verb
from bert_jax.config_flags import config_fields
from bert_jax.model_verbs import OK, tell_predictions
from bert_jax.preflight import (
    check_can_be_written,
    check_inputs,
    check_is_run,
    has_checkpoint,
)
from bert_jax.strict_fields import ConfigError, unknown_key

if TYPE_CHECKING:
    from bert_jax.config import Config
    from bert_jax.train.pretrain import Outcome

EXAMPLES = 3
LOCAL = "local"


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb: its arguments and what runs when they are in order."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Config | None], int]
    config: Literal["required", "optional", "none"] = "none"


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runner",
        default=LOCAL,
        help="who does the work: local processes, or a runner of Apache Beam such as "
        "DirectRunner, DataflowRunner, FlinkRunner, SparkRunner (extra beam); "
        "data.directory must then be on a file system that all workers share",
    )
    parser.add_argument(
        "--runner-options",
        default="",
        metavar="OPTIONS",
        help="options of that runner, in one string: '--project=x --region=y'",
    )
    _add_verify(parser)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verify",
        action="store_true",
        help="of data that are prepared already, compare every file with its hash",
    )


def _prepare(args: argparse.Namespace, config: Config | None) -> int:
    assert config is not None
    if args.runner_options and args.runner == LOCAL:
        raise ValueError("--runner-options are of a Beam runner; name it by --runner=…")
    check_inputs(config)

    from bert_jax.data.beam_engine import BeamEngine
    from bert_jax.data.prepare import data_directory, prepare
    from bert_jax.report.progress import Progress

    engine = None
    if args.runner != LOCAL:
        engine = BeamEngine(args.runner, args.runner_options)
    directory = data_directory(config)
    with Progress() as progress:
        manifest = prepare(
            config,
            directory,
            report=progress.bar,
            engine=engine,
            verify_hashes=args.verify,
        )
        for line in manifest.summary():
            progress.line(line)
    print(directory)
    return OK


def _add_workdir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir",
        required=True,
        type=pathlib.Path,
        help="folder of the run: checkpoints, metrics, tokenizer",
    )


def _add_pretrain(parser: argparse.ArgumentParser) -> None:
    _add_workdir(parser)
    _add_verify(parser)


def _pretrain(args: argparse.Namespace, config: Config | None) -> int:
    assert config is not None
    if not has_checkpoint(args.workdir):
        check_inputs(config)
    check_can_be_written(args.workdir)

    from bert_jax.report.progress import Progress
    from bert_jax.train.pretrain import pretrain

    with Progress() as progress:
        outcome = pretrain(config, args.workdir, progress, verify_data=args.verify)
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
    print(f"  {_verdict(outcome)}\n")
    data = pathlib.Path(load_config_of(workdir).data.directory)
    texts = held_out_examples(data, load_tokenizer(workdir / TOKENIZER), EXAMPLES)
    if texts:
        tell_predictions(zip(texts, fill_mask(workdir, texts, EXAMPLES), strict=True))
        print(f'\nYour own: bert-jax fill-mask {workdir} "… [MASK] …"')


def _verdict(outcome: Outcome) -> str:
    """What the margin over word frequencies says of a run, and what to do if it is none."""
    below = outcome.nats_below_unigram
    if below >= 0:
        return f"{below:.2f} nats below word frequencies"
    above = f"{-below:.2f} nats ABOVE word frequencies"
    before = outcome.untrained
    if before is not None and outcome.metrics["mlm_loss"] < before["mlm_loss"]:
        return f"{above}, and still learning: train longer (train.num_steps)"
    return (
        f"{above}: it has learned nothing, or has diverged;\n"
        "  lower optim.learning_rate or raise optim.warmup_steps"
    )


def _evaluate(args: argparse.Namespace, config: Config | None) -> int:
    check_is_run(args.workdir)

    from bert_jax.train.pretrain import evaluate

    print(json.dumps(evaluate(config, args.workdir), indent=2))
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
        config="required",
    ),
    "pretrain": Verb(
        "the main job; prepares first if need be; the same command again resumes",
        _add_pretrain,
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
        "likely tokens for each [MASK], with probabilities",
        model_verbs.add_fill_mask,
        model_verbs.run_fill_mask,
    ),
    "predict": Verb(
        "labels for texts from a trained classifier, as JSON lines",
        model_verbs.add_predict,
        model_verbs.run_predict,
    ),
    "embed": Verb(
        "vectors of sentences, as JSON lines or a .npy file",
        model_verbs.add_embed,
        model_verbs.run_embed,
    ),
    "convert": Verb(
        "a model in another format, loaded again and compared",
        model_verbs.add_convert,
        model_verbs.run_convert,
    ),
    "plan": Verb(
        "what a run would need and take on a device, which need not be there",
        plan_verb.add_arguments,
        plan_verb.run,
        config="required",
    ),
    "doctor": Verb(
        "versions, devices, data, run: what is in order, and the mend for what is not",
        doctor_verb.add_arguments,
        doctor_verb.run,
        config="optional",
    ),
    "explain": Verb(
        "what a field of the configuration does; alone: all of them", _add_explain, _explain
    ),
}
