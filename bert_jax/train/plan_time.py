"""How long a step would take, from what is published of a chip: an estimate only."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from bert_jax.parallel.chips import Target
from bert_jax.parallel.devices import measure_matmul_flops_per_second

# An update reads each parameter, its gradient and two moments and writes all but the
# gradient: seven float32.
_UPDATE_BYTES_PER_PARAMETER = 7 * 4


@dataclasses.dataclass(frozen=True)
class StepTime:
    """Seconds of one step, by part.

    Attributes:
        utilization: assumed part of the peak that matrix products reach.
        peak_flops_per_second: of all chips; published, of a CPU measured.
        compute_seconds: the matrix products.
        update_seconds: the optimizer's reading and writing, at the bandwidth of memory; 0
            for a CPU, whose bandwidth is not known.
        communication_seconds: what is sent, over all links of a chip at once; 0 for a CPU.
        seconds_per_step: their sum, as if nothing overlapped.
    """

    utilization: float
    peak_flops_per_second: float
    compute_seconds: float
    update_seconds: float
    communication_seconds: float
    seconds_per_step: float


def estimate_step_time(
    target: Target,
    *,
    flops: float,
    dtype: str,
    utilization: float,
    parameters_per_device: int,
    sent_bytes: int,
) -> StepTime:
    """The time of a step on a target.

    Args:
        target: the chips.
        flops: matrix products of the step, over all chips.
        dtype: what they are computed in, by its name.
        utilization: assumed part of the peak, in (0, 1].
        parameters_per_device: that a device updates.
        sent_bytes: by each device.
    """
    chip = target.chip
    if chip is None:
        peak, update, communication = (
            measure_matmul_flops_per_second(jnp.dtype(dtype)),
            0.0,
            0.0,
        )
    else:
        share = chip.float32_share if dtype == "float32" else 1.0
        peak = target.num_chips * chip.flops_per_second * share
        update_bytes = parameters_per_device * _UPDATE_BYTES_PER_PARAMETER
        update = chip.devices * update_bytes / chip.memory_bytes_per_second
        communication = chip.devices * sent_bytes / chip.link_bytes_per_second
    compute = flops / (peak * utilization)
    return StepTime(
        utilization=utilization,
        peak_flops_per_second=peak,
        compute_seconds=compute,
        update_seconds=update,
        communication_seconds=communication,
        seconds_per_step=compute + update + communication,
    )
