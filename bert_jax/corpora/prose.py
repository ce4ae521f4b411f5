"""Documentation text to prose: mark-up and code out, English paragraphs kept.

Made for docstrings (plain, reStructuredText, numpy and Google style), Markdown READMEs
and pydoc topics. It prefers losing prose to keeping what is not prose.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from bert_jax.text.sentences import split_sentences
from bert_jax.text.unicode import well_formed

MIN_WORDS = 5
MIN_LETTER_SHARE = 0.78
MIN_COMMON_SHARE = 0.2
MAX_CODE_SHARE = 0.1

_WORDS = (
    "a about after all also an and any are as at be because been before being both but "
    "by can cannot could did do does each either else every false few first for from "
    "get given had has have he her here his how however i if in into is it its just "
    "like made make many may more most must need never new no none not now of off on "
    "one only or other our out over same see set she should so some such than that the "
    "their them then there these they this those through to true two under until up "
    "upon us use used using value very want was we were what when where whether which "
    "while who will with within without would yes you your "
)
_COMMON_WORDS = frozenset(_WORDS.split())
_FENCE = re.compile(r"^\s*(```|~~~)")
_RULE = re.compile(r"^\s*([=\-~^\"'`#*+.:_<>])\1{2,}\s*$")
_DIRECTIVE = re.compile(r"^(\s*)\.\.(\s|$)")
_PROSE_DIRECTIVE = re.compile(
    r"^\s*\.\. (note|warning|important|tip|hint|caution|attention|seealso|admonition|"
    r"versionadded|versionchanged|deprecated|danger)::\s*"
)
_ITEM = re.compile(r"^\s*(?:[-*+•]|\(?\d{1,2}[.)]|#\.)\s+")
_FIELD = re.compile(r"^\s*:[\w \-*.,\[\]|]+:\s*")
_PARAMETER = re.compile(r"^\s*[*]{0,2}[\w.\-\[\]]+(?:\s*\([^()]*\))?:\s+(?=\S)")
_SECTION = re.compile(
    r"^\s*(?:Args?|Arguments|Returns?|Raises|Yields?|Parameters?|Params|Attributes|Attrs|"
    r"Example|Examples|Usage|Keyword Args|Keyword Arguments|Output|Outputs|Input|Inputs):"
    r"(?:\s+[\w.\[\], ]{1,40}:(?=\s))?\s*"
)
_TYPED_NAME = re.compile(r"^\s*[*]{0,2}\w[\w*, .]* ?: \S.*[^.]$")
_HEADING = re.compile(r"^\s*#{1,6}\s")
_TABLE = re.compile(r"^\s*[|+]|\s\|\s|\S {3,}\S|\t\S+\t")
_CODE_LINE = re.compile(
    r"^\s*(?:>>>|\.\.\.|\$ |% |@\w|import \w|from \w[\w.]* import|def \w|class \w+[(:]|"
    r"In \[\d|Out\[\d|<(?!(?:p|b|i|em|strong)>)\w|</|#!|return\b|[\w.\[\]\"']+ = )"
)
_INLINE = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), " "),
    (re.compile(r"\[([^\]]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r":[a-zA-Z:+\-]+:`(?:[^`<]*<)?[~!.]?([^`>]+)>?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`']+)[`']_{0,2}"), r"\1"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)__([^_]+ [^_]+)__(?!\w)"), r"\1"),
    (re.compile(r"(?<=\w)_(?=[\s.,;:)]|$)"), ""),
    (re.compile(r"\s*\[(?:\d+|[A-Z]\w*\d+|#\w*)\]_?"), ""),
    (re.compile(r"(?<!\w)\[([A-Za-z][\w.]*)\]"), r"\1"),
    (re.compile(r"\|(\w[\w ]*)\|_?"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), " "),
    (re.compile(r"\\([*_`|<>\\])"), r"\1"),
)
_MARKED = re.compile(r"[`*_\[|<\\]")
_ADDRESS = re.compile(r"https?:|www\.|\S@\S+\.\w|doi:", re.IGNORECASE)
_CODE_WORD = re.compile(
    r"[_=<>{}\[\]\\/|$#@^~`*+]|\w\(|\w\.\w|::|[a-z][A-Z]|^-{1,2}\w|\d[a-z]"
)
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_SENTENCE_START = re.compile(r"[\"'“‘(]?[A-Z0-9]")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)]*$")


def prose_paragraphs(text: str) -> list[str]:
    """The English paragraphs of one documentation text, one line each, in order."""
    if len(text) < 30 or (text.isascii() is False and _mostly_not_latin(text)):
        return []
    text = well_formed(inspect.cleandoc(text).replace("\0", ""))
    paragraphs = (_clean(" ".join(lines)) for lines in _blocks(text.splitlines()))
    return [paragraph for paragraph in paragraphs if paragraph]


def is_prose(sentence: str) -> bool:
    """Whether a sentence reads as an English sentence, by its letters and words."""
    if not (_SENTENCE_START.match(sentence) and _SENTENCE_END.search(sentence)):
        return False
    if _ADDRESS.search(sentence) or not sentence.isprintable():
        return False
    tokens = sentence.split()
    words = _WORD.findall(sentence)
    if len(words) < MIN_WORDS or len(tokens) > 120:
        return False
    letters = sum(map(len, words))
    if letters < MIN_LETTER_SHARE * (len(sentence) - len(tokens) + 1):
        return False
    code = sum(1 for token in tokens if _CODE_WORD.search(token))
    common = sum(1 for word in words if word.lower() in _COMMON_WORDS)
    return code <= MAX_CODE_SHARE * len(tokens) and common >= MIN_COMMON_SHARE * len(words)


def _mostly_not_latin(text: str) -> bool:
    return sum(c > "ɏ" for c in text) > 0.1 * len(text)


def _clean(block: str) -> str:
    """The sentences of a block that are prose, its inline mark-up removed."""
    if block.count(" ") < MIN_WORDS - 1:
        return ""
    if _MARKED.search(block):
        for pattern, replacement in _INLINE:
            block = pattern.sub(replacement, block)
    block = " ".join(block.split())
    sentences = split_sentences(block, "en")
    kept = [sentence for sentence in sentences if is_prose(sentence)]
    if 2 * sum(map(len, kept)) < len(block):
        return ""
    return " ".join(kept)


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines that belong to one paragraph; code, tables and headings left out."""
    block: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        skip = _literal_length(lines, index)
        if skip:
            yield block
            block, index = [], index + skip
            continue
        index += 1
        heading = index < len(lines) and _RULE.match(lines[index]) and line.strip()
        if not line.strip() or _RULE.match(line) or heading or _HEADING.match(line):
            yield block
            block = []
            continue
        code = _CODE_LINE.match(line) or _is_typed_name(lines, index - 1)
        if code or _TABLE.search(line):
            yield block
            block = []
            continue
        fresh, line = _unmark(line)
        if block and (fresh or _indent_changed(lines, index - 1)):
            yield block
            block = []
        if line:
            block.append(line)
        if line.endswith("::"):
            yield [*block[:-1], line[:-1]]
            block = []
            index += _indented_length(lines, index, _indent(lines[index - 1]) + 1)
    yield block


def _is_typed_name(lines: list[str], index: int) -> bool:
    """Whether this is "name : type" of the numpy style: the next line is indented more."""
    return (
        index + 1 < len(lines)
        and bool(lines[index + 1].strip())
        and _indent(lines[index + 1]) > _indent(lines[index])
        and _TYPED_NAME.match(lines[index]) is not None
    )


def _unmark(line: str) -> tuple[bool, str]:
    """(a new paragraph begins here, the line without bullet, field or parameter name)."""
    for pattern in (_PROSE_DIRECTIVE, _ITEM, _FIELD, _SECTION):
        bare, count = pattern.subn("", line, count=1)
        if count:
            return True, _PARAMETER.sub("", bare, count=1).strip()
    bare, count = _PARAMETER.subn("", line, count=1)
    # "Note: this …" is prose; "name: this …" at an indent, or in lower case, a parameter.
    if count and (line[0].isspace() or line.lstrip()[0].islower()):
        return True, bare.strip()
    return False, line.strip()


def _literal_length(lines: list[str], index: int) -> int:
    """How many lines from `index` on are code, a directive or a doctest; 0 if none."""
    line = lines[index]
    if _FENCE.match(line):
        mark = line.strip()[:3]
        for stop in range(index + 1, len(lines)):
            if lines[stop].strip().startswith(mark):
                return stop + 1 - index
        return len(lines) - index
    if line.lstrip().startswith(">>>"):
        stop = index
        while stop < len(lines) and lines[stop].strip():
            stop += 1
        return stop - index
    if _DIRECTIVE.match(line) and not _PROSE_DIRECTIVE.match(line):
        return 1 + _indented_length(lines, index + 1, _indent(line) + 1)
    return 0


def _indented_length(lines: list[str], index: int, indent: int) -> int:
    """How many lines from `index` on are blank or indented by at least `indent`."""
    stop = index
    while stop < len(lines) and (not lines[stop].strip() or _indent(lines[stop]) >= indent):
        stop += 1
    return stop - index


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _indent_changed(lines: list[str], index: int) -> bool:
    """Whether this line is indented less than, or unlike, the running paragraph.

    A hanging indent (deeper by any amount after an item or a field) goes on; a line
    that comes back to the left begins something new.
    """
    return (
        index > 0
        and bool(lines[index - 1].strip())
        and _indent(lines[index]) < _indent(lines[index - 1])
    )
