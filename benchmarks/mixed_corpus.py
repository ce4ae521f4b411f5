"""A corpus of any size out of real text: sentences exchanged between documents.

    python benchmarks/mixed_corpus.py --megabytes=1000 --output=/tmp/mixed '/texts/wiki*.gz'

Every document of the output has the length of one that was given, half of its sentences,
and in the place of the others sentences of other documents, drawn by a seed. No two are
equal, so that nothing can be gained by finding duplicates, while all words and sentences
are real. The files are in the form of wikiextractor; for `bert-jax prepare`:
`--config.data.sources="[{'name': 'text_files', 'path': '/tmp/mixed/wiki_*'}]"`.

Sentences are exchanged within groups of documents, and a group has one title: since titles
decide what is held out, held-out text shares no sentence with training text.
"""

from __future__ import annotations

import argparse
import glob
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_jax.corpora.text_readers import Counts, read_documents
from bert_jax.data.duplicates import text_hash
from bert_jax.text.sentences import split_sentences

GROUPS = 400
DOCUMENTS_PER_GROUP = 8
MAX_SENTENCES = 200
FILE_BYTES = 16_000_000

Sentences = list[str]


def main() -> int:
    """Writes the corpus; returns the exit code."""
    parser = argparse.ArgumentParser(description="Real sentences, any amount of them.")
    parser.add_argument("texts", nargs="+", help="files or globs of files with text")
    parser.add_argument("--megabytes", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    paths = sorted({Path(p) for pattern in args.texts for p in glob.glob(pattern)})
    documents = read_texts(paths)
    num_bytes = write_mixed(documents, args.output, args.megabytes * 1_000_000, args.seed)
    print(f"{num_bytes:,} bytes in {args.output}, of {len(documents):,} documents")
    return 0


def read_texts(paths: Sequence[Path]) -> list[Sentences]:
    """The documents of text files as sentences, long ones cut."""
    documents = []
    for path in paths:
        read = read_documents(
            path,
            path.name,
            feature="text",
            rule="auto",
            encoding_errors="replace",
            counts=Counts(),
        )
        for document in read:
            sentences = split_sentences(document.text, "en")
            documents += [
                sentences[start : start + MAX_SENTENCES]
                for start in range(0, len(sentences), MAX_SENTENCES)
            ]
    return documents


def write_mixed(
    documents: Sequence[Sentences], folder: Path, num_bytes: int, seed: int
) -> int:
    """Writes files of mixed documents until there are `num_bytes`, and says how many.

    Raises:
        ValueError: there are too few documents to exchange sentences between.
    """
    if len(documents) < GROUPS * DOCUMENTS_PER_GROUP:
        raise ValueError(
            f"the texts must give {GROUPS * DOCUMENTS_PER_GROUP} documents or more and "
            f"give {len(documents)}; give more texts"
        )
    folder.mkdir(parents=True)
    written = part = 0
    mixed = mix(documents, seed)
    while written < num_bytes:
        with open(folder / f"wiki_{part:04d}", "wb") as file:
            size = 0
            while size < FILE_BYTES and written + size < num_bytes:
                size += file.write(next(mixed).encode())
        written += size
        part += 1
    return written


def mix(documents: Sequence[Sentences], seed: int) -> Iterator[str]:
    """Mixed documents without end, as wikiextractor writes them."""
    rng = random.Random(seed)
    groups = [
        [sentence for document in documents[group::GROUPS] for sentence in document]
        for group in range(GROUPS)
    ]
    seen: set[int] = set()
    number = 0
    while True:
        place = number % len(documents)
        group = place % GROUPS
        sentences = list(documents[place])
        for index in rng.sample(range(len(sentences)), -(-len(sentences) // 2)):
            sentences[index] = rng.choice(groups[group])
        # A short document may come out as one before it: a sentence more, then.
        while (known := text_hash("\n".join(sentences))) in seen:
            sentences.append(rng.choice(groups[group]))
        seen.add(known)
        body = "\n".join(sentences)
        yield f'<doc id="{number}" url="" title="Group {group}">\n{body}\n</doc>\n'
        number += 1


if __name__ == "__main__":
    raise SystemExit(main())
