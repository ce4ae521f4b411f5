"""BERT-base by the recipe of 2018, second phase: 100,000 steps of rows of 512 tokens.

Source: Devlin et al. 2018, appendix A.2: the last tenth of the steps is of length 512. The
    rate is the one that google-research/bert advises for going on from a checkpoint.
Differs: rows are packed, and the schedule is a new one, as for the first phase.
Command: bert-jax pretrain --config=wiki_books_base_len512:/my/books --workdir=runs/base512
    --config.init_from=runs/base128 --config.train.dtype=bfloat16
    The shards and the vocabulary of the first phase serve as they are.
Hardware: an accelerator; not a CPU. In bfloat16 a TPU v5e chip takes
    16 rows (compiled: 12.2 GB of 16), so that the batch wants 16 chips. Not yet run.
"""

from ml_collections import ConfigDict

from bert_jax.configs import wiki_books_base_len128


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the first phase.

    Args:
        arg: as for the first phase.
    """
    config = wiki_books_base_len128.get_config(arg)
    config.data.update(sequence_length=512, max_predictions_per_sequence=80, packing=8)
    config.optim.update(learning_rate=2e-5, warmup_steps=1_000)
    config.train.num_steps = 100_000
    return config
