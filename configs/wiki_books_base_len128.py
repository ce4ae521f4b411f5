"""BERT-base by the recipe of 2018, first phase: 900,000 steps of 256 rows of 128 tokens.

Source: Devlin et al. 2018 (https://arxiv.org/abs/1810.04805), appendix A.2, and
    google-research/bert. The values of model, optimizer and objective are the defaults of
    bert_jax/config_sections.py; they are written out because this file documents a result.
Text: English Wikipedia and books, 76 to 24 as their words in 2018 (2,500M to 800M). The
    books are yours, a folder or an archive: BooksCorpus is no longer given out. Without an
    argument they are those of PG-19, which TFDS has.
Differs: rows are packed (`--config.data.packing=1` for one pair a row): on 12M tokens of
    Wikipedia and novels that leaves 1 % padding of 16 (benchmarks/results/data.json). Each
    phase has a schedule that ends at 0.
Command: bert-jax pretrain --config=wiki_books_base_len128:/my/books --workdir=runs/base128
    --config.train.dtype=bfloat16, then wiki_books_base_len512.
    TFDS must have prepared Wikipedia (and PG-19) as ArrayRecord before, or may with
    --config.data.download=True (extra `beam`).
Hardware: an accelerator; not a CPU. Compiles for one TPU v5e chip at 32 rows a chip. Not
    yet run to its end.
Published: about 1.4 nats on held-out masked words (J. Devlin, google-research/bert, issue
    90).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the defaults of bert_jax/config_sections.py.

    Args:
        arg: a folder or an archive of books; empty for PG-19.
    """
    wikipedia = {"name": "wikipedia/20230601.en", "weight": 0.76}
    books = {"name": "books_corpus", "path": arg} if arg else {"name": "pg19"}
    return ConfigDict(
        {
            "model": {"name": "base"},
            "data": {
                "sources": (wikipedia, {**books, "weight": 0.24}),
                "sequence_length": 128,
                "max_predictions_per_sequence": 20,
                "packing": 4,
            },
            "optim": {"name": "bert_adamw", "learning_rate": 1e-4, "warmup_steps": 10_000},
            "train": {"num_steps": 900_000, "global_batch_size": 256},
        }
    )
