"""A corpus that every machine has: the documentation of the installed Python packages.

Docstrings of the standard library and of installed packages, their descriptions, and the
topics of `pydoc`, cleaned to English prose: a few megabytes, no download.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import tensorflow_datasets as tfds

from bert_jax.corpora.document_builder import DocumentBuilder
from bert_jax.corpora.documentation import (
    STANDARD_LIBRARY,
    distribution_texts,
    installed_distributions,
    installed_versions,
    standard_library_texts,
)
from bert_jax.corpora.documents import Document
from bert_jax.corpora.prose import prose_paragraphs
from bert_jax.text.sentences import split_sentences

VERSION = "1.0.0"
MIN_DOCUMENT_CHARACTERS = 100
_SHARED_SENTENCE_WORDS = 8
_NOT_LETTERS = re.compile(r"[^a-z]+")


@dataclasses.dataclass(frozen=True)
class Module:
    """The prose of one module, README or topic."""

    distribution: str
    title: str
    paragraphs: tuple[str, ...]

    @property
    def num_characters(self) -> int:
        """Length of its prose."""
        return sum(map(len, self.paragraphs))


@dataclasses.dataclass(kw_only=True)
class InstalledDocsConfig(tfds.core.BuilderConfig):
    """What decides the corpus, besides the environment; `name` is the fingerprint."""

    eval_fraction: float
    progress: Callable[[str, int, int], None] | None = None


class InstalledDocs(DocumentBuilder):
    """Documentation texts, split into train and validation by distribution."""

    VERSION = tfds.core.Version(VERSION)

    def split_documents(self) -> Mapping[str, Iterator[Document]]:
        """Everything is gathered before anything is written: copies can be anywhere."""
        config = self.builder_config
        modules, notes = collect_modules(config.progress)
        train, held_out = split_by_distribution(modules, config.eval_fraction)
        held_out, notes["shared_with_training"] = drop_shared(train, held_out)
        self.info.metadata["train"] = notes
        return {"train": _documents(train), "validation": _documents(held_out)}


def _documents(modules: list[Module]) -> Iterator[Document]:
    for module in modules:
        identity = f"{module.distribution}/{module.title}"
        yield Document(identity, module.title, "\n\n".join(module.paragraphs))


def fingerprint(eval_fraction: float) -> str:
    """Hex digest of the installed versions and of what else decides the corpus."""
    content = [VERSION, installed_versions(), eval_fraction]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def collect_modules(
    progress: Callable[[str, int, int], None] | None,
) -> tuple[list[Module], dict[str, int]]:
    """All modules with their prose, each paragraph once, and counts of what was dropped.

    The standard library comes first, so that copies of its texts elsewhere are the ones
    that go; then distributions by name. Paragraphs that differ only in case, digits or
    punctuation are copies.
    """
    distributions = installed_distributions()
    texts = [standard_library_texts()]
    texts += [distribution_texts(name, found) for name, found in distributions.items()]
    seen: set[str] = set()
    titles: Counter[str] = Counter()
    modules: list[Module] = []
    copies = short = 0
    for done, group in enumerate(texts):
        if progress is not None:
            progress("reading installed documentation", done, len(texts))
        for found_texts in group:
            paragraphs = _paragraphs(found_texts.texts)
            fresh = [p for key, p in paragraphs.items() if key not in seen]
            copies += len(paragraphs) - len(fresh)
            seen.update(paragraphs)
            if sum(map(len, fresh)) < MIN_DOCUMENT_CHARACTERS:
                short += bool(fresh)
                continue
            title = _unused(f"{found_texts.distribution}/{found_texts.title}", titles)
            modules.append(
                Module(found_texts.distribution, title.split("/", 1)[1], tuple(fresh))
            )
    if progress is not None:
        progress("reading installed documentation", len(texts), len(texts))
    return modules, {"copied_paragraphs": copies, "short_documents": short}


def _paragraphs(texts: tuple[str, ...]) -> dict[str, str]:
    """The prose of some texts, in order: normalised paragraph -> its first appearance."""
    found: dict[str, str] = {}
    for text in texts:
        for paragraph in prose_paragraphs(text):
            found.setdefault(normalized(paragraph), paragraph)
    return found


def _unused(title: str, titles: Counter[str]) -> str:
    """`title`, numbered if it was used before: a module and its stub share their name."""
    titles[title] += 1
    return title if titles[title] == 1 else f"{title} ({titles[title]})"


def normalized(text: str) -> str:
    """What two copies of a text share: its letters, case and digits ignored."""
    return _NOT_LETTERS.sub(" ", text.lower()).strip()


def split_by_distribution(
    modules: list[Module], eval_fraction: float
) -> tuple[list[Module], list[Module]]:
    """(train, validation): whole distributions are held out, the standard library never.

    Distributions are taken in the order of a hash of their names until the held-out
    share of the text is at least `eval_fraction`; one that would bring it above twice
    that is passed over, and taken only if all the others do not suffice.
    """
    sizes: Counter[str] = Counter()
    for module in modules:
        sizes[module.distribution] += module.num_characters
    wanted = eval_fraction * sum(sizes.values())
    ranked = sorted(
        (name for name in sizes if name != STANDARD_LIBRARY),
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    chosen: set[str] = set()
    total = 0.0
    for limit in (2 * wanted, float("inf")):
        for name in ranked:
            if total < wanted and name not in chosen and total + sizes[name] <= limit:
                chosen.add(name)
                total += sizes[name]
    train = [m for m in modules if m.distribution not in chosen]
    return train, [m for m in modules if m.distribution in chosen]


def drop_shared(train: list[Module], held_out: list[Module]) -> tuple[list[Module], int]:
    """Held-out modules without the paragraphs that share a sentence with training text.

    Only sentences of 8 words and more count. Returns the modules that are left, and the
    number of paragraphs dropped.
    """
    known: set[str] = set()
    for paragraph in (p for module in train for p in module.paragraphs):
        known |= _sentence_keys(paragraph)
    kept: list[Module] = []
    dropped = 0
    for module in held_out:
        fresh = [p for p in module.paragraphs if known.isdisjoint(_sentence_keys(p))]
        dropped += len(module.paragraphs) - len(fresh)
        if sum(map(len, fresh)) >= MIN_DOCUMENT_CHARACTERS:
            kept.append(dataclasses.replace(module, paragraphs=tuple(fresh)))
    return kept, dropped


def _sentence_keys(paragraph: str) -> set[str]:
    keys = (normalized(sentence) for sentence in split_sentences(paragraph, "en"))
    return {key for key in keys if key.count(" ") >= _SHARED_SENTENCE_WORDS - 1}
