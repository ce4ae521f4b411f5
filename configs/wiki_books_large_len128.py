"""BERT-large by the recipe of 2018, first phase: 900,000 steps of 256 rows of 128 tokens.

Source: as wiki_books_base_len128, and so are text and differences; with the large model.
Command: bert-jax pretrain --config=wiki_books_large_len128:/my/books
    --workdir=runs/large128 --config.train.dtype=bfloat16, then wiki_books_large_len512.
Hardware: accelerators; not a CPU. In bfloat16 a TPU v5e chip takes 16 rows with all of the
    state (compiled: 11.0 GB of 16). Not yet run.
"""

from ml_collections import ConfigDict

from bert_jax.configs import wiki_books_base_len128


def get_config(arg: str = "") -> ConfigDict:
    """What differs from BERT-base.

    Args:
        arg: a folder or an archive of books; empty for PG-19.
    """
    config = wiki_books_base_len128.get_config(arg)
    config.model.name = "large"
    return config
