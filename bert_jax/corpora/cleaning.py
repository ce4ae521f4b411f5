"""What is taken out of documents before they become sentences, by the kind of their source.

`plain` is part of every kind but `none`. Clean text comes back as it is: each rule looks
first, by a search for a few characters, whether there is anything for it to do.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

from bert_jax.corpora.documents import Document
from bert_jax.corpora.gutenberg import strip_boilerplate
from bert_jax.corpora.wiki_markup import is_redirect, strip_markup

KINDS = ("none", "plain", "wikipedia", "gutenberg")
RULE_LINE_CHARACTERS = 10

Cleaner = Callable[[Document], tuple[Document | None, dict[str, int]]]

# Vertical tabs and form feeds end lines (and pages); the other control characters go.
_CONTROL = bytes(i for i in range(32) if chr(i) not in "\t\n\v\f\r") + b"\x7f"
_BREAKS = bytes.maketrans(b"\v\f", b"\n\n")


@dataclasses.dataclass(frozen=True)
class _Cleaner:
    """A function that can be sent to another process."""

    kind: str

    def __call__(self, document: Document) -> tuple[Document | None, dict[str, int]]:
        counts: Counter[str] = Counter()
        if self.kind == "wikipedia" and is_redirect(document.text):
            return None, {"redirect_pages": 1}
        text = clean(document.text, self.kind, counts, title=document.title)
        if not text.strip():
            return None, {**counts, "documents_empty_when_cleaned": 1}
        if text is document.text:
            return document, {}
        return dataclasses.replace(document, text=text), dict(counts)


def make_cleaner(kind: str) -> Cleaner:
    """The function that cleans the documents of a source; it can be pickled.

    Args:
        kind: one of KINDS.

    Returns:
        A function of a document. It gives the cleaned document, the same object if there
        was nothing to clean, None if nothing is left of it; and counts of what was
        removed, each under the name of its rule.
    """
    assert kind in KINDS, f"unknown kind of cleaning: {kind}"
    return _keep if kind == "none" else _Cleaner(kind)


def _keep(document: Document) -> tuple[Document | None, dict[str, int]]:
    return document, {}


def clean(text: str, kind: str, counts: Counter[str], *, title: str = "") -> str:
    """`text` without what does not belong to it; the same object if all of it does.

    Args:
        text: of one document.
        kind: one of KINDS.
        counts: of what was removed, added to.
        title: of the document; a page of Wikipedia that holds no more than it is empty.
    """
    if kind == "none":
        return text
    text = _without_rule_lines(_without_control(text, counts), counts)
    if kind == "wikipedia":
        return strip_markup(text, title, counts)
    if kind == "gutenberg":
        return strip_boilerplate(text, counts)
    return text


def _without_control(text: str, counts: Counter[str]) -> str:
    raw = text.encode("utf-8")
    kept = raw.translate(_BREAKS, _CONTROL)
    if kept == raw:
        return text
    counts["control_characters"] += len(raw) - len(kept) + raw.count(b"\v")
    counts["control_characters"] += raw.count(b"\f")
    return kept.decode("utf-8")


def _without_rule_lines(text: str, counts: Counter[str]) -> str:
    """Empties lines that are one character again and again, white space aside."""
    lines = text.split("\n")
    found = 0
    for number, line in enumerate(lines):
        # The second comparison spares nearly every line the rest.
        if len(line) < RULE_LINE_CHARACTERS or not _may_be_rule(line):
            continue
        marks = "".join(line.split())
        if len(marks) >= RULE_LINE_CHARACTERS and marks == marks[0] * len(marks):
            lines[number] = ""
            found += 1
    if not found:
        return text
    counts["lines_of_one_character"] += found
    return "\n".join(lines)


def _may_be_rule(line: str) -> bool:
    """Whether a line of ten characters or more begins and ends as a rule would."""
    first = line[0]
    return first.isspace() or first == line[-1] or line[-1].isspace()
