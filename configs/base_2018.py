"""BERT-base by the recipe of 2018: 1M steps of 256 sequences.

Source: Devlin et al. 2018 (https://arxiv.org/abs/1810.04805), appendix A.2, and
    google-research/bert. All values are the defaults of bert_jax/config_sections.py, which
    follow that recipe; they are written out here because this file documents a result.
Differs: English Wikipedia of 2023-06-01 alone (BooksCorpus is no longer given out);
    length 128 throughout (the paper takes 512 for the last tenth of the steps).
Command: bert-jax pretrain --config=base_2018 --workdir=runs/base
    TFDS must have prepared Wikipedia as ArrayRecord before (extra `beam`; see README).
Hardware: an accelerator; not a CPU. Not yet run to its end.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the defaults of bert_jax/config_sections.py."""
    if arg:
        raise ValueError(f"base_2018 takes no argument, not {arg!r}")
    return ConfigDict(
        {
            "model": {"name": "base"},
            "data": {"sources": ("wikipedia/20230601.en",), "sequence_length": 128},
            "optim": {"name": "bert_adamw", "learning_rate": 1e-4, "warmup_steps": 10_000},
            "train": {"num_steps": 1_000_000, "global_batch_size": 256},
        }
    )
