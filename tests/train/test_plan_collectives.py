"""Bytes between devices, read from compiled programs of which they are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bert_jax.train.plan_collectives import KINDS, Traffic, collective_traffic

NONE = Traffic(0, 0)
ROUNDS = 5


@pytest.fixture
def mesh() -> Mesh:
    return jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)


def traffic(mesh: Mesh, function: Callable[..., Any], spec: P, dims: Any) -> Any:
    """What `function` sends, mapped over a mesh with arrays that are sharded by `spec`."""
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )
    x = jax.ShapeDtypeStruct(dims, jnp.float32, sharding=NamedSharding(mesh, spec))
    found, unread = collective_traffic(
        jax.jit(mapped).lower(x).compile().as_text(), mesh.size
    )
    assert not unread
    return found


@pytest.mark.parametrize(
    ("kind", "function", "count", "sent_bytes"),
    [
        # Blocks are float32[16, 8], 512 bytes, in groups of four.
        ("all-reduce", lambda x: jax.lax.psum(x, "b"), 1, 2 * 512 * 3 // 4),
        ("all-reduce", lambda x: jax.lax.psum(x, ("a", "b")), 1, 2 * 512 * 7 // 8),
        (
            "all-gather",
            lambda x: jax.lax.all_gather(x, "b", tiled=True)[:16],
            1,
            4 * 512 * 3 // 4,
        ),
        (
            "reduce-scatter",
            lambda x: jnp.tile(jax.lax.psum_scatter(x, "b", tiled=True), (4, 1)),
            1,
            512 * 3 // 4,
        ),
        ("all-to-all", lambda x: jax.lax.all_to_all(x, "b", 0, 0, tiled=True), 1, 384),
        (
            "collective-permute",
            lambda x: jax.lax.ppermute(x, "b", [(i, (i + 1) % 4) for i in range(4)]),
            1,
            512,
        ),
    ],
)
def test_each_kind_alone(
    mesh: Mesh, kind: str, function: Any, count: int, sent_bytes: int
) -> None:
    found = traffic(mesh, function, P("a", "b"), (32, 32))
    expected = dict.fromkeys(KINDS, NONE) | {kind: Traffic(count, sent_bytes)}
    assert found == expected


def test_a_loop_counts_each_of_its_rounds(mesh: Mesh) -> None:
    def looped(x: jax.Array) -> jax.Array:
        def body(carry: jax.Array, _: None) -> tuple[jax.Array, None]:
            return jax.lax.psum(jnp.sin(carry), "b"), None

        return jax.lax.scan(body, x, None, length=ROUNDS)[0]

    found = traffic(mesh, looped, P("a", "b"), (32, 32))
    assert found["all-reduce"] == Traffic(ROUNDS, ROUNDS * 768)


# As the TPU compiler writes it: a loop without a known count, an all-reduce of which each
# device keeps its part, and a gather that is spread over two fusions under one channel.
TPU_TEXT = """HloModule jit_step

%all-reduce-scatter.1 (input_0: f32[64]) -> f32[8] {
  %input_0 = f32[64]{0} parameter(0)
  ROOT %all-reduce.9 = f32[64]{0} all-reduce(%input_0), channel_id=1, \
replica_groups={{0,1,2,3,4,5,6,7}}, to_apply=%add
}

%fused.1 (p: bf16[4]) -> bf16[32] {
  ROOT %all-gather.1 = bf16[32]{0:T(8)(2,1)} all-gather(%p), channel_id=2, \
replica_groups=mesh['axis_0'=8,'axis_1'=1] {'axis_0'}, frontend_attributes={chain_id="0"}
}

%fused.2 (p: bf16[4]) -> bf16[32] {
  ROOT %all-gather.2 = bf16[32]{0:T(8)(2,1)S(1)} all-gather(%p), channel_id=2, \
replica_groups=mesh['axis_0'=8,'axis_1'=1] {'axis_0'}, frontend_attributes={chain_id="0"}
}

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%bound (c: (s32[])) -> pred[] {
  %constant.7.clone.2 = s32[]{:T(128)} constant(12)
  %counter = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%counter, %constant.7.clone.2), direction=LT
}

%body (c: (s32[])) -> (s32[]) {
  %f.1 = bf16[32]{0} fusion(%p), kind=kCustom, calls=%fused.1
  %f.2 = bf16[32]{0} fusion(%p), kind=kCustom, calls=%fused.2
  %one = s32[]{:T(128)} constant(1)
  %before = s32[]{:T(128)} get-tuple-element(%c), index=0
  %after = s32[]{:T(128)} add(%before, %one)
  ROOT %next = (s32[]{:T(128)}) tuple(%after)
}

ENTRY %main (x: f32[64]) -> f32[8] {
  %w = (s32[]) while(%t), condition=%bound, body=%body
  %s = f32[8]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
}
"""


def test_what_a_tpu_makes_of_them() -> None:
    found, unread = collective_traffic(TPU_TEXT, 8)
    assert not unread
    assert found["all-gather"] == Traffic(12, 12 * 64 * 7 // 8)
    assert found["reduce-scatter"] == Traffic(1, 256 * 7 // 8)
    assert found["all-reduce"] == NONE


def test_channels_tell_two_gathers_apart() -> None:
    text = TPU_TEXT.replace(
        "all-gather(%p), channel_id=2", "all-gather(%p), channel_id=3", 1
    )
    assert collective_traffic(text, 8)[0]["all-gather"].count == 24


def test_a_gather_that_reaches_into_a_loop_runs_as_often_as_it_is_begun() -> None:
    text = TPU_TEXT.replace(
        "  %w = (s32", "  %f = bf16[32]{0} fusion(%q), calls=%begun\n  %w = (s32"
    )
    fused = TPU_TEXT[TPU_TEXT.index("%fused.2") : TPU_TEXT.index("%add (x")]
    text = text.replace("%add (x", fused.replace("%fused.2", "%begun") + "%add (x")
    assert collective_traffic(text, 8)[0]["all-gather"].count == 1


@pytest.mark.parametrize(("step", "rounds"), [(1, 12), (2, 6), (5, 3)])
def test_counters_that_rise_by_more(step: int, rounds: int) -> None:
    text = TPU_TEXT.replace("constant(1)", f"constant({step})")
    assert collective_traffic(text, 8)[0]["all-gather"].count == rounds


def test_loops_that_cannot_be_read_are_told() -> None:
    text = TPU_TEXT.replace("direction=LT", "direction=NE")
    found, unread = collective_traffic(text, 8)
    assert (found["all-gather"].count, unread) == (1, 1)
