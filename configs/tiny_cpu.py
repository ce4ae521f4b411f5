"""The whole of BERT pretraining in minutes on two CPU cores, with nothing to download.

Source: the embedded corpus `installed_docs` (documentation texts of the installed Python
    distribution); architecture of Turc et al. 2019 (https://arxiv.org/abs/1908.08962).
Differs from the 2018 recipe, since it has minutes: bias-corrected AdamW with beta2 0.98,
    30 % of tokens masked (held-out masks are 15 %, always), no dropout, no short
    sequences, wider initial weights, an informed start.
Command: bert-jax pretrain --config=tiny_cpu --workdir=runs/tiny
Hardware: 2 CPU cores (AMD EPYC), 224 s from the corpus to the end, 1.0 GB of memory.
Result: 4.78 nats on the masked words of held-out packages, 27.4 % of them right. Word
    frequencies alone: 6.57 nats (1.79 above), 5.3 %. Before training: 6.75 nats. Next
    sentence: 54.8 %, where the more frequent answer alone gives 52.1 %.
    The text, and with it these numbers, depends on the packages that are installed:
    benchmarks/results/learning-tiny_cpu.json was made in an environment with nothing but
    bert_jax (`python benchmarks/learning.py --config=tiny_cpu --workdir=runs/tiny_cpu`).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the defaults of bert_jax/config_sections.py."""
    if arg:
        raise ValueError(f"tiny_cpu takes no argument, not {arg!r}")
    return ConfigDict(
        {
            "model": {
                "name": "tiny",
                "max_position_embeddings": 128,
                # Near 1 / sqrt(hidden_size), where so small a model learns fastest.
                "initializer_range": 0.06,
            },
            "data": {
                "sources": ("installed_docs",),
                "eval_fraction": 0.05,
                "sequence_length": 128,
                "max_predictions_per_sequence": 40,
                "short_sequence_rate": 0.0,
            },
            "tokenizer": {"vocab_size": 8192},
            "objective": {"mask_rate": 0.3},
            "optim": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "warmup_steps": 200,
                "beta2": 0.98,
            },
            "train": {
                "num_steps": 2400,
                "global_batch_size": 16,
                "dropout_rate": 0.0,
                "start": "informed",
                "log_every_steps": 20,
                "eval_every_steps": 600,
                "eval_batches": 64,
                "save_every_steps": 600,
            },
        }
    )
