"""Plans of tiny runs: against what is measured, and as the command line tells them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bert_jax import cli
from bert_jax.config import Config
from bert_jax.config_flags import load_config
from bert_jax.parallel.chips import parse_target
from bert_jax.train import plan_step
from bert_jax.train.plan import make_plan
from bert_jax.train.plan_step import CompiledStep, count_flops

MEASURE = Path(__file__).with_name("measure_step.py")
NAMES = {"parameters", "flops_per_step", "argument_bytes", "temporary_bytes", "peak_bytes"}
NAMES |= {"fits", "largest_micro_batch", "source", "collectives", "compile_seconds"}


def tiny(**model: Any) -> Config:
    config = load_config(["--config=tiny_cpu", "--config.train.global_batch_size=8"])
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **model))


def wide() -> Config:
    """Wide enough that products are nearly all of the work."""
    return tiny(
        hidden_size=1024,
        intermediate_size=4096,
        num_attention_heads=16,
        num_hidden_layers=3,
    )


def test_flops_by_formula_and_by_count() -> None:
    plan = make_plan(wide(), parse_target("cpu"), utilization=0.4, with_largest=False)
    assert plan.flops_per_step == pytest.approx(plan.flops_per_step_counted, rel=0.02)
    assert plan.flops_per_token == round(plan.flops_per_step / (8 * 128))


def test_each_layer_is_counted() -> None:
    """The count of a scanned body would not grow with the layers."""
    one, three = (count_flops(tiny(num_hidden_layers=n)) for n in (1, 3))
    layer = 3 * 8 * (2 * 128 * (4 * 128**2 + 2 * 128 * 512) + 4 * 128**2 * 128)
    assert (three - one) / 2 == pytest.approx(layer, rel=0.15)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--config=text_mini:/texts",),
        pytest.param(
            (
                "--config=text_mini:/texts",
                "--config.train.global_batch_size=32",
                "--config.optim.name=adamw",
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                "--config=tiny_cpu",
                "--config.model.name=small",
                "--config.train.global_batch_size=8",
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["mini", "mini-adamw-32", "small"],
)
def test_peak_memory_as_measured(run_python: Any, tmp_path: Path, arguments: Any) -> None:
    """Measured is 4 to 7 % more: kernels have scratch memory that XLA does not plan."""
    done = run_python(str(MEASURE), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    print(found)
    assert found["planned"] == pytest.approx(found["measured"], rel=0.10)


def test_more_rows_take_more() -> None:
    target = parse_target("cpu")
    plans = [
        make_plan(
            dataclasses.replace(
                tiny(), train=dataclasses.replace(tiny().train, global_batch_size=rows)
            ),
            target,
            utilization=0.4,
            with_largest=False,
        )
        for rows in (4, 8)
    ]
    assert plans[1].flops_per_step == 2 * plans[0].flops_per_step
    assert 1.5 < plans[1].step.temporary_bytes / plans[0].step.temporary_bytes < 2.2
    assert plans[1].step.argument_bytes - plans[0].step.argument_bytes < 20_000


def test_json_of_a_machine_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    """Eight fake devices in the place of eight chips; the data axis sums its gradients."""
    arguments = ["plan", "--config=tiny_cpu", "--device=gpu:h200-8", "--price=3", "--json"]
    assert cli.main([*arguments, "--no-largest"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan.keys() >= NAMES
    assert (plan["source"], plan["fits"], plan["largest_micro_batch"]) == (
        "abstract",
        None,
        None,
    )
    assert plan["rows_per_device"] == 2
    # The table of words is used twice, and each use sums its gradient on its own.
    gradients = (plan["parameters"] + 8192 * 128) * 4
    assert plan["collectives"]["all-reduce"]["sent_bytes"] == pytest.approx(
        2 * gradients * 7 / 8, rel=0.02
    )
    assert plan["cost"] == pytest.approx(plan["total_hours"] * 3 * 8)
    parts = ("compute_seconds", "update_seconds", "communication_seconds")
    assert plan["seconds_per_step"] == pytest.approx(sum(plan[part] for part in parts))


def test_what_does_not_fit_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = 100_000_000
    monkeypatch.setattr("bert_jax.train.plan._memory_bytes", lambda *_: memory)
    arguments = ["plan", "--config=tiny_cpu", "--config.train.global_batch_size=64"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert "DOES NOT FIT" in shown.out
    most = int(shown.out.partition("the most that fit at once: ")[2].split()[0])
    assert 4 <= most < 16
    assert f"compiling {most} rows at once" in shown.err
    assert f"compiling {most + 1} rows at once" in shown.err
    # With what it says, the same batch fits.
    (remedy,) = (line for line in shown.out.splitlines() if "to make it fit" in line)
    flags = [word for word in remedy.split() if word.startswith("--config.")]
    assert cli.main([*arguments, "--no-largest", *flags]) == 0
    again = capsys.readouterr().out
    assert re.search(r"rows +64 on each device in \d+ turns", again)
    assert "DOES NOT FIT" not in again


def test_words_of_the_tpu_compiler() -> None:
    config = tiny()
    mesh = plan_step.make_mesh(config.mesh, plan_step.jax.devices()[:1])
    batch = plan_step.abstract_batch(config, mesh)
    for message, temporaries in (
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for "
            "HLO temporaries (26.5G) exceeds available HBM (15.75G).\nmore",
            26.5 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.00G of "
            "15.75G hbm. Exceeded hbm capacity by 4.25G.",
            20 * 2**30 - (8 * 128 * 17 + 8 * 24),
        ),
    ):
        step: CompiledStep = plan_step._refused(batch, message, 0.0)
        assert step.argument_bytes == 8 * 128 * 17 + 8 * 24
        assert step.temporary_bytes == temporaries
        assert step.refusal in message
        assert step.collectives is None


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--device=tpu:v5e-9", "--device=tpu:v5e-9 must be a known device"),
        ("--price=free", "free must be a number above 0"),
        ("--price=nan", "nan must be a number above 0"),
        ("--utilization=40", "--utilization=40.0 must be at most 1"),
        ("--config.mesh.data=16", "mesh.data=16, mesh.fsdp=1"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], argument: str, line: str
) -> None:
    assert cli.main(["plan", "--config=tiny_cpu", argument]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told
