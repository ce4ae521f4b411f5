"""Train steps compile for TPU chips, with the real compiler and without a chip."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tpu_cases import CASES, GOLDEN, ROWS_PER_CHIP, figures, plan

from bert_jax.config_flags import shipped_configs

pytestmark = pytest.mark.tpu

# Of what was recorded, for memory and for what is sent.
TOLERANCE = 0.05
# Padding and scalars, where there is next to nothing to compare.
SLACK_BYTES = 100_000


def all_cases() -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.slow] if case.is_deep else [])
        for name, case in CASES.items()
    ]


@pytest.mark.parametrize("name", all_cases())
def test_memory_and_collectives_as_recorded(run_python: Any, name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    case = CASES[name]
    found = plan(run_python, case.device, "--no-largest", *case.arguments)
    # Without donation the new state would lie beside the old one.
    assert found["donated_bytes"] > 0.99 * found["output_bytes"]
    assert found["fits"]
    print(f"\n{name}: compiled in {found['compile_seconds']:.0f} s, {figures(found)}")
    if found["compiler"] != golden["compiler"]:
        pytest.skip(
            f"recorded with {golden['compiler']}, this is {found['compiler']}: it "
            "compiles; record its figures by tests/make_tpu_golden.py"
        )
    expected, now = golden["cases"][name], figures(found)
    for kind in ("argument_bytes", "temporary_bytes"):
        assert now[kind] == pytest.approx(expected[kind], rel=TOLERANCE, abs=SLACK_BYTES), (
            kind
        )
    assert now["sent_bytes"].keys() == expected["sent_bytes"].keys()
    assert now["sent_bytes"] == pytest.approx(
        expected["sent_bytes"], rel=TOLERANCE, abs=SLACK_BYTES
    )


def test_every_case_is_recorded() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["cases"].keys() == CASES.keys()
    assert ROWS_PER_CHIP.keys() == shipped_configs().keys()
    assert not golden["cases"]["wiki_books_base_len128 on v5e-1"]["sent_bytes"]
    # Eight parts: of 110M parameters and two moments an eighth (biases and norms are
    # whole on each), and no chip computes another's rows.
    names = ("wiki_books_base_len128 on v5e-1", "base sharded")
    whole, part = (golden["cases"][name] for name in names)
    assert part["argument_bytes"] < whole["argument_bytes"] / 8 * 1.15
    assert part["temporary_bytes"] < whole["temporary_bytes"] * 1.5
    assert {"all-gather", "reduce-scatter"} <= part["sent_bytes"].keys()


def test_too_large_a_batch_and_the_largest_that_fits(run_python: Any) -> None:
    """The compiler refuses it, and says by how much."""
    found = plan(
        run_python,
        "tpu:v5e-1",
        "--config=tiny_cpu",
        "--config.train.global_batch_size=65536",
    )
    assert found["fits"] is False
    assert "RESOURCE_EXHAUSTED" in found["refusal"]
    assert found["collectives"] is None
    assert found["peak_bytes"] > found["memory_bytes"]
    assert 512 < found["largest_micro_batch"] < 16384
