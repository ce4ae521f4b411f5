"""`bert-jax plan`: what a run would need and take, told as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from bert_jax.parallel.chips import parse_target
from bert_jax.parallel.environment import environment_for

if TYPE_CHECKING:
    from bert_jax.config import Config
    from bert_jax.train.plan import Plan

OK = 0
# NVIDIA's own BERT code reaches 0.45 of an A100's peak; a first run reaches less.
_UTILIZATION = 0.4
_SOURCES = {
    "tpu-compiler": "compiled for this chip by {compiler}, without the chip",
    "compiled-here": "compiled for the devices of this machine by {compiler}",
    "abstract": "ABSTRACT: compiled for as many CPU devices by {compiler}; the memory on "
    "the chip is another",
}
_UNITS = ("B", "KB", "MB", "GB", "TB")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="cpu",
        help="what the run is for: cpu (this machine, default), gpu:h200-8, or a TPU slice "
        "in the words of Google Cloud: tpu:v5e-8 has 8 chips, tpu:v4-8 has 8 cores, so 4 "
        "chips. TPUs are compiled for with the extra tpu, without a chip",
    )
    parser.add_argument(
        "--price",
        type=_positive,
        metavar="PER_CHIP_HOUR",
        help="price of a chip for an hour; adds the cost of the run",
    )
    parser.add_argument(
        "--utilization",
        type=_positive,
        default=_UTILIZATION,
        help=f"part of the peak that the run is assumed to reach ({_UTILIZATION})",
    )
    parser.add_argument(
        "--no-largest",
        dest="with_largest",
        action="store_false",
        help="do not look for the largest micro-batch, which compiles a few steps more",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, no table")


def run(args: argparse.Namespace, config: Config | None) -> int:
    """Plans and tells; a run that does not fit is an answer, too: exit code 0."""
    assert config is not None
    if args.utilization > 1:
        raise ValueError(f"--utilization={args.utilization} must be at most 1; lower it")
    target = parse_target(args.device)
    os.environ.update(environment_for(target))  # JAX is not there yet

    from bert_jax.train.plan import make_plan

    plan = make_plan(
        config,
        target,
        utilization=args.utilization,
        price=args.price,
        with_largest=args.with_largest,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(json.dumps(plan.to_dict()) if args.json else "\n".join(table(plan)))
    return OK


def table(plan: Plan) -> list[str]:
    """The lines that a reader sees."""
    step, time = plan.step, plan.time
    chips = f"{plan.num_chips} chip{'s' if plan.num_chips > 1 else ''}"
    rows = [
        ("device", f"{plan.device}: {chips}, {plan.num_devices} in the mesh"),
        ("source", _SOURCES[plan.source].format(compiler=plan.compiler)),
        ("parameters", f"{plan.parameters:,}"),
        ("FLOPs", f"{plan.flops_per_step:.4g} a step, {plan.flops_per_token:.4g} a token"),
        ("", plan.flops_formula),
        ("", f"{plan.flops_per_step_counted:.4g} a step, all operations, by XLA's count"),
        ("arguments", f"{size(step.argument_bytes)}, on each device"),
        ("temporaries", f"{size(step.temporary_bytes)}"),
        ("peak", f"{size(step.peak_bytes)} of {size(plan.memory_bytes)}: {_verdict(plan)}"),
        *_micro_batch(plan),
        *_collectives(plan),
        ("compiled in", f"{step.compile_seconds:.0f} s"),
        ("a step", f"{time.seconds_per_step:.4g} s: {_parts(plan)}"),
        ("", f"assumes {time.utilization:.0%} of {time.peak_flops_per_second:.4g} FLOP/s"),
        ("tokens", f"{plan.tokens_per_second:,.0f} a second"),
        ("the run", f"{plan.total_hours:,.1f} hours{_cost(plan)}"),
    ]
    return [f"{name:<18}{text}" for name, text in rows]


def size(num_bytes: float) -> str:
    """Bytes as a reader takes them in: 1.25 GB."""
    unit = 0
    while abs(num_bytes) >= 1000 and unit < len(_UNITS) - 1:
        num_bytes /= 1000
        unit += 1
    return f"{num_bytes:.3g} {_UNITS[unit]}"


def _verdict(plan: Plan) -> str:
    if plan.fits is None:
        return "not known to fit, since it was not compiled for the chip"
    if plan.fits:
        return "fits"
    return f"DOES NOT FIT. {plan.step.refusal}".rstrip()


def _micro_batch(plan: Plan) -> list[tuple[str, str]]:
    rows = f"{plan.rows_per_device} on each device"
    if plan.accumulation_steps > 1:
        rows += f" in {plan.accumulation_steps} turns"
    if plan.largest_micro_batch is None:
        return [("rows", rows)]
    lines = [("rows", f"{rows}; the most that fit at once: {plan.largest_micro_batch}")]
    if plan.remedy is not None:
        flags = f"--config.train.micro_batch_size={plan.remedy.micro_batch_size}"
        if plan.remedy.remat != "none":
            flags += f" --config.train.remat={plan.remedy.remat}"
        turns = plan.remedy.accumulation_steps
        lines.append(("to make it fit", f"{flags} (the same batch, in {turns} turns)"))
    elif plan.fits is False:
        lines.append(("to make it fit", "more devices along mesh.fsdp, or a smaller model"))
    return lines


def _collectives(plan: Plan) -> list[tuple[str, str]]:
    found = plan.step.collectives or {}
    lines = [
        f"{kind}: {size(traffic.sent_bytes)} in {traffic.count}"
        for kind, traffic in found.items()
        if traffic.count
    ]
    if plan.step.unread_loops:
        lines.append(f"and more: {plan.step.unread_loops} loops could not be read")
    lines = lines or ["none" if plan.step.collectives is not None else "not known"]
    return [("sent by a device" if i == 0 else "", line) for i, line in enumerate(lines)]


def _parts(plan: Plan) -> str:
    time = plan.time
    return (
        f"compute {time.compute_seconds:.3g}, update {time.update_seconds:.3g}, "
        f"communication {time.communication_seconds:.3g}, none overlapping"
    )


def _cost(plan: Plan) -> str:
    return "" if plan.cost is None else f", cost {plan.cost:,.2f}"


def _positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return value
