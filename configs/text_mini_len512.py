"""A mini BERT on your own text files, second phase: long rows, several texts in each.

Source: as text_mini; two phases as in Devlin et al. 2018, appendix A.2.
Command: bert-jax pretrain --config='text_mini_len512:/texts/**/*.txt'
    --workdir=runs/mini512
    --config.init_from=runs/mini
    where runs/mini was trained with text_mini on the same files: its shards and its
    vocabulary serve as they are.
Hardware: 2 CPU cores (AMD EPYC), 108 s, 1.7 GB of memory.
Result: on the text of text_mini, in rows of 512: 6.08 nats on held-out masked words, where
    the model of the first phase has 6.35 and word frequencies 6.86 (0.79 above). Next
    sentence: 83.4 %, from 80.7 %; the more frequent answer alone gives 52.4 %.
    Kept in benchmarks/results/learning-wiki_books_mini_len512.json.
"""

from ml_collections import ConfigDict

from bert_jax.configs import text_mini


def get_config(arg: str = "") -> ConfigDict:
    """What differs from the first phase.

    Args:
        arg: as for text_mini.
    """
    config = text_mini.get_config(arg)
    config.data.update(sequence_length=512, max_predictions_per_sequence=160, packing=8)
    config.optim.update(learning_rate=5e-4, warmup_steps=20)
    config.train.update(
        num_steps=200,
        global_batch_size=4,
        start="random",
        eval_every_steps=100,
        save_every_steps=100,
    )
    return config
