"""What has to stand in the environment before JAX starts."""

from __future__ import annotations

import importlib.util

from bert_jax.parallel.chips import Target

# JAX takes minutes to make a thousand of them.
_MOST_FAKE_DEVICES = 256
_TPU_VARIABLES = {
    "JAX_PLATFORMS": "cpu",
    # Without these libtpu asks the network for the machine that it is on.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    # No chip is taken, so two plans may be made at once, and one beside a run on chips.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # libtpu writes a log of its start to standard error.
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def has_tpu_compiler() -> bool:
    """Whether the extra `tpu` is installed."""
    return importlib.util.find_spec("libtpu") is not None


def environment_for(target: Target) -> dict[str, str]:
    """Variables with which JAX sees, or can describe, the devices of a target.

    Raises:
        ValueError: there are more devices than fake ones can stand for.
    """
    if target.platform == "tpu" and has_tpu_compiler():
        return {**_TPU_VARIABLES, "JAX_NUM_CPU_DEVICES": "1"}
    if target.num_devices > _MOST_FAKE_DEVICES:
        raise ValueError(
            f"--device={target.name} must have at most {_MOST_FAKE_DEVICES} devices where "
            "there is no TPU compiler; pip install 'bert_jax[tpu]'"
        )
    cpus = {"JAX_NUM_CPU_DEVICES": str(target.num_devices)}
    return cpus if target.platform == "gpu" else {**cpus, "JAX_PLATFORMS": "cpu"}
