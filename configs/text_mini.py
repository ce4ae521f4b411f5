"""A mini BERT on your own text files.

Source: architecture of Turc et al. 2019 (https://arxiv.org/abs/1908.08962), mini.
Command: bert-jax pretrain --config=text_mini:'/texts/**/*.txt' --workdir=runs/mini
    The argument is a glob; several are separated by commas. See `bert-jax explain
    data.sources` for the kinds of files.
Differs from the 2018 recipe in the same points as tiny_cpu, and trains with Muon: with
    AdamW the same model was 0.74 nats below word frequencies after 2,200 steps.
Hardware: 2 CPU cores (AMD EPYC), 559 s from the text to the end, 1.5 GB of memory.
Result: on 53 MB of English Wikipedia and novels (held out by title), 5.98 nats on the
    masked words, 17.4 % of them right. Word frequencies alone: 6.95 nats (0.97 above),
    4.4 %. Next sentence: 87.4 %, where the more frequent answer alone gives 53.7 %.
    Kept in benchmarks/results/learning-wiki_books_mini.json.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the defaults of bert_jax/config_sections.py.

    Args:
        arg: a glob of text files; several are separated by commas.
    """
    paths = [path for path in arg.split(",") if path]
    if not paths:
        raise ValueError(
            "give a glob of your text files: --config='text_mini:/texts/**/*.txt'"
        )
    return ConfigDict(
        {
            "model": {"name": "mini", "initializer_range": 0.04},
            "data": {
                "sources": tuple({"name": "text_files", "path": path} for path in paths),
                "sequence_length": 128,
                "max_predictions_per_sequence": 40,
                "short_sequence_rate": 0.0,
            },
            "tokenizer": {"vocab_size": 8192},
            "objective": {"mask_rate": 0.3},
            "optim": {
                "name": "muon",
                "learning_rate": 2e-3,
                "warmup_steps": 200,
                "beta2": 0.98,
            },
            "train": {
                "num_steps": 1400,
                "global_batch_size": 16,
                "dropout_rate": 0.0,
                "start": "informed",
                "log_every_steps": 20,
                "eval_every_steps": 350,
                "eval_batches": 64,
                "save_every_steps": 350,
            },
        }
    )
