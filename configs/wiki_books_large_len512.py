"""BERT-large by the recipe of 2018, second phase: 100,000 steps of rows of 512 tokens.

Source: as wiki_books_base_len512, and so are the differences; with the large model.
Command: bert-jax pretrain --config=wiki_books_large_len512:/my/books
    --workdir=runs/large512 --config.init_from=runs/large128 --config.train.dtype=bfloat16
Hardware: accelerators; not a CPU. In bfloat16 a TPU v5e chip takes 4 rows with all of the
    state (compiled: 13.1 GB of 16). Not yet run.
"""

from ml_collections import ConfigDict

from bert_jax.configs import wiki_books_base_len512


def get_config(arg: str = "") -> ConfigDict:
    """What differs from BERT-base.

    Args:
        arg: as for the first phase.
    """
    config = wiki_books_base_len512.get_config(arg)
    config.model.name = "large"
    return config
