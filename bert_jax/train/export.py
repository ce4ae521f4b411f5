"""The model of a run as a folder that others load."""

from __future__ import annotations

import shutil
from pathlib import Path

from bert_jax.config import Config
from bert_jax.data.manifest import FILE_NAME, load_manifest
from bert_jax.formats.orbax import newest_record
from bert_jax.pretrained.classes import BertForPreTraining
from bert_jax.pretrained.export import export_hugging_face
from bert_jax.pretrained.model_card import Origin
from bert_jax.report.metrics_file import read_metrics
from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.train.checkpoint import CHECKPOINTS

EXPORT = "model"
_STAMP = "exported_step"  # written last


def renew_export(workdir: Path, step: int) -> None:
    """Makes WORKDIR/model the model of the newest checkpoint, in Hugging Face's form.

    Args:
        workdir: the run's folder.
        step: of the newest checkpoint; an export of this step stays as it is.
    """
    folder, stamp = workdir / EXPORT, workdir / EXPORT / _STAMP
    if stamp.is_file() and stamp.read_text().strip() == str(step):
        return
    if folder.exists():
        shutil.rmtree(folder)
    model = BertForPreTraining.from_pretrained(workdir)
    tokenizer = BertTokenizer.from_pretrained(workdir)
    export_hugging_face(model, tokenizer, folder, origin_of_run(workdir))
    stamp.write_text(f"{step}\n")


def origin_of_run(workdir: Path) -> Origin:
    """Data, steps and results of the newest checkpoint of a run, as far as they are kept.

    Raises:
        ValueError: the run has no checkpoint.
    """
    newest = newest_record(workdir / CHECKPOINTS)
    if newest is None:
        raise ValueError(f"{workdir} must be a workdir with a checkpoint; train first")
    step, meta = newest
    config = Config.from_dict(meta["config"])
    optim, train = config.optim, config.train
    return Origin(
        summary=f"A BERT pretrained by bert_jax for {step:,} steps.",
        data=_data_lines(config),
        training={
            "steps": f"{step:,} of {train.num_steps:,}",
            "sequences a step": str(train.global_batch_size),
            "sequence length": f"{config.data.sequence_length} tokens",
            "masked tokens": f"{config.objective.mask_rate:.0%}",
            "optimizer": f"{optim.name}, learning rate {optim.learning_rate:g}, "
            f"{optim.warmup_steps:,} steps of warm-up",
            "initialized from": config.init_from or "random weights",
        },
        results=_results(workdir, step),
        language=config.data.language,
    )


def _data_lines(config: Config) -> list[str]:
    """One line a source, with the number of its documents where the data still are."""
    directory = Path(config.data.directory)
    if (directory / FILE_NAME).is_file():
        sources = load_manifest(directory).sources
        return [
            f"{source['name']}: {source['documents']:,} documents" for source in sources
        ]
    return [" ".join(filter(None, (s.name, s.path))) for s in config.data.sources]


def _results(workdir: Path, step: int) -> dict[str, float]:
    rows = [
        row
        for row in read_metrics(workdir)
        if row["step"] == step and "split" in row and row["split"] == "eval"
    ]
    return {
        name: value
        for row in rows
        for name, value in row.items()
        if name.endswith(("_loss", "_accuracy"))
    }
