"""What our TFDS builders share: features, and writing that streams to ArrayRecord files."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import fcntl
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from bert_jax.corpora.documents import Document

SHARD_BYTES = 1 << 28


class DocumentBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A TFDS builder of documents, written in the order they are generated in.

    Differs: TFDS gathers a split in memory to shuffle it, and beyond 1 GB needs
    TensorFlow to go to disk. This writes each document at once, so that memory does not
    grow with the corpus. Order is no concern here: examples are shuffled later.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"id": text, "title": text, "text": text}),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    @abc.abstractmethod
    def split_documents(self) -> Mapping[str, Iterator[Document]]:
        """The documents of each split; counts may be left in `self.info.metadata`."""

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator[Any]]:
        return {
            split: self._generate_examples(d) for split, d in self.split_documents().items()
        }

    def _generate_examples(self, documents: Iterator[Document]) -> Iterator[Any]:
        for document in documents:
            yield document.id, dataclasses.asdict(document)

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> list[Any]:
        """Called by TFDS within a folder that it renames when all is written."""
        generators = self._split_generators(dl_manager)
        return [self._write_split(split, items) for split, items in generators.items()]

    def _write_split(self, split: str, items: Iterator[Any]) -> tfds.core.SplitInfo:
        template = tfds.core.ShardedFileTemplate(
            data_dir=self.data_path,
            dataset_name=self.name,
            split=split,
            filetype_suffix="array_record",
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
        )
        lengths: list[int] = []
        num_bytes = room = 0
        with contextlib.ExitStack() as files:
            for _, example in items:
                record = self.info.features.serialize_example(example)
                if not lengths or room < len(record):
                    files.close()
                    path = template.sharded_filepath(
                        shard_index=len(lengths), num_shards=None
                    )
                    # Random access by single records, as Grain demands it.
                    writer = ArrayRecordWriter(str(path), "group_size:1")
                    files.callback(writer.close)
                    lengths.append(0)
                    room = SHARD_BYTES
                writer.write(record)
                lengths[-1] += 1
                num_bytes += len(record)
                room -= len(record)
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=lengths,
            num_bytes=num_bytes,
            filename_template=template,
        )


def prepare(builder: DocumentBuilder) -> None:
    """Writes a builder's files if they are not there; all of them or none.

    What a killed process has left half written is removed.
    """
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    prepare_alone(builder, config, drafts="incomplete.*")


def prepare_alone(builder: Any, config: Any, *, drafts: str = "") -> None:
    """Has TFDS write a dataset as ArrayRecord files, one process at a time.

    The others wait, and find it done.

    Args:
        builder: any of TFDS.
        config: tfds.download.DownloadConfig.
        drafts: folders of this pattern beside the dataset's are removed before.
    """
    if builder.data_path.exists():
        return
    folder = Path(builder.data_path).parent
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for draft in folder.glob(drafts) if drafts else ():
            shutil.rmtree(draft)
        builder.download_and_prepare(download_config=config, file_format="array_record")
