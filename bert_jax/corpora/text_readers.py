"""Files of text to documents: formats, encodings, compression. Streams; bounded memory."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from bert_jax.corpora.documents import Document
from bert_jax.corpora.text_lines import COMPRESSED, Counts, decompressed, read_lines
from bert_jax.text.unicode import well_formed

MAX_DOCUMENT_CHARACTERS = 8_000_000
PROBE_LINES = 2000
PROBE_CHARACTERS = 8_000_000
LONG_LINE_CHARACTERS = 120
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_DOC_TAG = re.compile(r"<doc\b[^>]*>")
_DOC_TITLE = re.compile(r"\btitle=\"([^\"]*)\"")
_SENTENCE_ENDS = frozenset(".!?;:…\"'”’»)]。！？।؟")


def read_documents(
    path: Path, name: str, *, feature: str, rule: str, encoding_errors: str, counts: Counts
) -> Iterator[Document]:
    """The documents of one file, in order; those without any text are left out.

    Args:
        path: .txt, .jsonl or wikiextractor output, plain or .gz, .zst, .bz2, .xz. Files
            whose first line is a <doc …> tag are wikiextractor's, whatever their name.
        name: short name of the file; ids and titles are made from it.
        feature: the field of JSON lines that holds the text.
        rule: where plain text is cut. "blank_lines": at blank lines; "file": one
            document; "auto": as the file's first 2,000 lines look. At blank lines if
            they are documents: the blocks between blank lines have one sentence a line
            (9 lines in 10 end a sentence, and half of the blocks or more have several
            lines), or every block is one line and as many blank lines stand between any
            two. One document if the blocks are but paragraphs of it: wrapped ones, whose
            lines end anywhere, as in a book of Project Gutenberg; or some of one line
            beside some of several; or set apart by more blank lines at a chapter's end.
        encoding_errors: "replace" or "refuse" bytes that are not UTF-8.
        counts: added to.

    Raises:
        ValueError: the file is not what its name says, or has bytes that are refused.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    with stream:
        yield from read_stream(
            stream,
            path,
            name,
            feature=feature,
            rule=rule,
            encoding_errors=encoding_errors,
            counts=counts,
        )


def read_stream(
    stream: IO[bytes],
    path: Path,
    name: str,
    *,
    feature: str,
    rule: str,
    encoding_errors: str,
    counts: Counts,
) -> Iterator[Document]:
    """`read_documents` of a file that is open, or is a member of an archive.

    `path` tells the kind of the content by its suffixes, and names it in errors.
    """
    content = decompressed(stream, path.suffix)
    lines = read_lines(content, path, encoding_errors, counts)
    head = _head(lines)
    lines = itertools.chain(head, lines)
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED]
    first = next((line for line in head if line.strip()), "")
    if first.lstrip().startswith("<doc "):
        counts.files_of_wikiextractor += 1
        documents = _wiki(lines, name)
    elif suffixes and suffixes[-1] in _JSON_LINES:
        counts.files_of_json_lines += 1
        documents = _json_lines(lines, name, path, feature)
    elif rule == "blank_lines" or (rule == "auto" and _blocks_are_documents(head)):
        counts.files_cut_at_blank_lines += 1
        documents = _blank_line_blocks(lines, name)
    else:
        counts.files_as_one_document += 1
        documents = _whole_file(lines, name, _is_paragraph_a_line(head))
    for document in documents:
        if document.text.strip():
            yield from _cut(document, counts)
        else:
            counts.empty_documents += 1


def _wiki(lines: Iterable[str], name: str) -> Iterator[Document]:
    """Output of wikiextractor; the title is not repeated as first line of the text.

    Each line break there ends a paragraph or a heading, so it becomes a blank line.
    """
    title, number, length = "", 0, 0
    body: list[str] | None = None
    for line in lines:
        if _DOC_TAG.match(line.strip()):
            found = _DOC_TITLE.search(line)
            title, body = (html.unescape(found.group(1)) if found else ""), []
            length = 0
        elif line.strip() == "</doc>" and body is not None:
            yield Document(f"{name}#{number}", title, _paragraphs(body, title))
            number, body = number + 1, None
        elif body is not None:
            if length >= MAX_DOCUMENT_CHARACTERS:
                yield Document(f"{name}#{number}", title, _paragraphs(body, title))
                number, body, length = number + 1, [], 0
            body.append(line)
            length += len(line)
    if body is not None:
        yield Document(f"{name}#{number}", title, _paragraphs(body, title))


def _paragraphs(lines: list[str], title: str) -> str:
    kept = [line.strip() for line in lines if line.strip()]
    if kept and kept[0] == title:
        kept = kept[1:]
    return "\n\n".join(kept)


def _json_lines(
    lines: Iterable[str], name: str, path: Path, feature: str
) -> Iterator[Document]:
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number + 1}: not one JSON object a line ({error})"
            ) from None
        if not isinstance(record, dict) or feature not in record:
            raise ValueError(
                f"{path}, line {number + 1}: no field {feature!r}; set data.sources "
                "feature to the field that holds the text"
            )
        text = record[feature]
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{path}, line {number + 1}: field {feature!r} must be text")
        has_title = isinstance(record.get("title"), str) and record["title"].strip()
        title = record["title"] if has_title else f"{name}#{number}"
        text = well_formed((text or "").replace("\0", ""))
        yield Document(f"{name}#{number}", well_formed(title), text)


def _blank_line_blocks(lines: Iterable[str], name: str) -> Iterator[Document]:
    """Blocks between blank lines; each line is a sentence, kept apart as a paragraph."""
    number = 0
    for blank, group in itertools.groupby(lines, key=lambda line: not line.strip()):
        if blank:
            continue
        title = f"{name}#{number}"
        for part in _parts(group):
            text = "\n\n".join(line.strip() for line in part)
            yield Document(f"{name}#{number}", title, text)
            number += 1


def _parts(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines in lists of about as many characters as a document may have."""
    part: list[str] = []
    length = 0
    for line in lines:
        part.append(line)
        length += len(line)
        if length >= MAX_DOCUMENT_CHARACTERS:
            yield part
            part, length = [], 0
    if part:
        yield part


def _head(lines: Iterator[str]) -> list[str]:
    """The first lines, as many as are looked at to tell what a file holds."""
    head: list[str] = []
    length = 0
    for line in itertools.islice(lines, PROBE_LINES):
        head.append(line)
        length += len(line)
        if length >= PROBE_CHARACTERS:
            break
    return head


def _whole_file(lines: Iterable[str], name: str, split_lines: bool) -> Iterator[Document]:
    """The file as one document, or as several if it is too long to hold in memory."""
    part: list[str] = []
    number = length = 0
    joint = "\n\n" if split_lines else "\n"
    for line in lines:
        if not line.strip() and (split_lines or not part or not part[-1]):
            continue
        part.append(line if line.strip() else "")
        length += len(line) + 1
        if length >= MAX_DOCUMENT_CHARACTERS:
            yield Document(f"{name}#{number}", name, joint.join(part))
            part, length, number = [], 0, number + 1
    if part or number == 0:
        yield Document(f"{name}#{number}", name, joint.join(part))


def _blocks_are_documents(lines: list[str]) -> bool:
    """Whether blank lines separate documents or paragraphs; see `read_documents`."""
    blocks: list[list[str]] = []
    gaps: list[int] = []
    for blank, group in itertools.groupby(lines, key=lambda line: not line.strip()):
        if blank:
            gaps.append(len(list(group)))
        else:
            blocks.append([line.strip() for line in group])
    if len(blocks) < 2:
        return False
    num_longer = sum(len(block) > 1 for block in blocks)
    if not num_longer:
        first = int(not lines[0].strip())
        return len(set(gaps[first : first + len(blocks) - 1])) == 1
    if 2 * num_longer < len(blocks):
        return False
    sentences = [line for block in blocks for line in block]
    return 10 * sum(s[-1] in _SENTENCE_ENDS for s in sentences) >= 9 * len(sentences)


def _is_paragraph_a_line(lines: list[str]) -> bool:
    """Whether line breaks end paragraphs: 1 line in 20 is longer than wrapped ones are."""
    lengths = [len(line) for line in lines if line.strip()]
    return 20 * sum(n > LONG_LINE_CHARACTERS for n in lengths) > len(lengths)


def _cut(document: Document, counts: Counts) -> Iterator[Document]:
    """The document, in parts of at most 8 million characters."""
    if len(document.text) <= MAX_DOCUMENT_CHARACTERS:
        yield document
        return
    counts.cut_documents += 1
    text, start = document.text, 0
    for part in itertools.count():
        stop = start + MAX_DOCUMENT_CHARACTERS
        if stop < len(text):
            # After a space, if one is near.
            stop = text.rfind(" ", stop - MAX_DOCUMENT_CHARACTERS // 8, stop) + 1 or stop
        if text[start:stop].strip():
            yield Document(f"{document.id}.{part}", document.title, text[start:stop])
        start = stop
        if start >= len(text):
            return
