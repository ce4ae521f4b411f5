"""The whole of BERT pretraining in minutes on two CPU cores, with nothing to download.

Source: the embedded corpus `installed_docs` (documentation texts of the installed Python
    distribution); architecture of Turc et al. 2019 (https://arxiv.org/abs/1908.08962).
Command: bert-jax pretrain --config=tiny_cpu --workdir=runs/tiny
Hardware: 2 CPU cores, at most 4 GB of memory.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the defaults of bert_jax/config.py."""
    if arg:
        raise ValueError(f"tiny_cpu takes no argument, not {arg!r}")
    return ConfigDict(
        {
            "model": {"name": "tiny", "max_position_embeddings": 128},
            "data": {"sources": ("installed_docs",), "sequence_length": 128},
            "tokenizer": {"vocab_size": 8192},
            "optim": {"learning_rate": 1e-3, "warmup_steps": 200},
            "train": {
                "num_steps": 2000,
                "global_batch_size": 32,
                "dropout_rate": 0.0,
                "log_every_steps": 20,
                "eval_every_steps": 500,
                "save_every_steps": 500,
            },
        }
    )
