"""Markup that extractors leave in pages of Wikipedia.

Made for text that was extracted already (by wikiextractor, or by TFDS from the dump), not
for wikitext: it removes what is left, and decides nothing about the rest.
"""

from __future__ import annotations

import html
import re
from collections import Counter

_REDIRECT = re.compile(
    r"\s*#\s?(?:REDIRECT|REDIRECTION|WEITERLEITUNG|REDIRECCI[OÓ]N|REDIRECIONAMENTO|RINVIA|"
    r"DOORVERWIJZING|PATRZ|ПЕРЕНАПРАВЛЕНИЕ|ПЕРЕНАПРАВЛЕННЯ|OMDIRIGERING|転送|リダイレクト|"
    r"重定向|넘겨주기|تحويل|[^\W\d_]{3,}:?[ \t]*\[\[)",
    re.IGNORECASE,
)
_FILE_WORDS = (
    r"(?:File|Image|Media|Datei|Bild|Fichier|Archivo|Imagen|Immagine|Ficheiro|Bestand|Plik|"
    r"Файл|Изображение|ファイル|画像|文件|파일|ملف)"
)
_CATEGORY_WORDS = (
    r"(?:Category|Kategorie|Cat[ée]gorie|Categor[íi]a|Categorie|Kategoria|Kategori|"
    r"Категория|Категорія|カテゴリ|分类|分類|분류|تصنيف)"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_COMMENT = re.compile(r"<!--(?:[^<-]|-(?!->)|<(?!!--))*-->")
# An element and its content; one that another one interrupts is left to _TAG.
_ELEMENT = re.compile(
    r"<(ref|gallery|math|timeline|score|style|script|imagemap|templatestyles)\b"
    r"[^<>]*(?:/>|>[^<]*(?:<(?!/?\1\b)[^<]*)*</\1[ \t]*>)",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"</?(?:ref|references|gallery|math|chem|timeline|score|style|script|imagemap|"
    r"templatestyles|mapframe|maplink|section|nowiki|noinclude|includeonly|onlyinclude|"
    r"br|hr|p|div|span|small|big|sub|sup|b|i|u|s|em|strong|font|center|blockquote|cite|"
    r"code|pre|poem|tt|kbd|var|abbr|del|ins|table|tbody|thead|tr|td|th|caption|ul|ol|li|"
    r"dl|dt|dd|a|img|h[1-6]|ruby|rb|rp|rt|bdi|bdo|syntaxhighlight|source)"
    r"(?:[\s/][^<>]{0,1000})?>",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_DEEPEST_TEMPLATE = 16
_LINK_TO_FILE = re.compile(
    rf"\[\[:?[ \t]*(?:{_FILE_WORDS}|{_CATEGORY_WORDS})[ \t]*:"
    r"[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]",
    re.IGNORECASE,
)
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
# One of these stands in each of the words above.
_CATEGORY_SIGN = "ategor"
_OTHER_CATEGORY_SIGNS = ("атегор", "カテゴリ", "分类", "分類", "분류", "تصنيف")
_FILE_LINE = re.compile(
    rf"^[^\w\n]*{_FILE_WORDS}:[^\n|]*\|.*\n?", re.IGNORECASE | re.MULTILINE
)
_CATEGORY_LINE = re.compile(
    rf"^[ \t]*(?:\[\[)?{_CATEGORY_WORDS}:[^\n.]*\n?", re.IGNORECASE | re.MULTILINE
)
_TABLE_LINE = re.compile(
    r"^[ \t]*(?:\{?\||![^\n]*(?:\||!!|(?:span|style|scope|align|width)[ \t]*=)).*\n?",
    re.MULTILINE,
)
_IMAGE_LINE = re.compile(r"^(?:thumb|frame|left|right|center)\|.*\n?", re.MULTILINE)
_HEADING = re.compile(
    r"^[ \t]*(={1,6})[ \t]*([^=\s](?:[^\n]*?[^=\s])?)[ \t]*\1[ \t]*$", re.MULTILINE
)
_MAGIC_WORD = re.compile(r"__[A-Z]{3,24}__")
_ODD_PARENTHESIS = re.compile(r"\([)\s;,:]")
_EMPTY_PARENTHESES = re.compile(r"[ \t]\([ \t\xa0;,:]*\)")
_PARENTHESIS_OF_NOTHING = re.compile(r"\([ \t\xa0]*[;,][ \t\xa0;,]*(?=[^\s;,])")


def is_redirect(text: str) -> bool:
    """Whether a page only sends its readers to another one."""
    return _REDIRECT.match(text) is not None


def strip_markup(text: str, title: str, counts: Counter[str]) -> str:
    """The prose of a page; empty if it is but its title and headings.

    Args:
        text: of one page, extracted.
        title: of the page.
        counts: of what was removed, by name; added to.
    """
    before = text
    text = _strip_tags(text, counts)
    text = _strip_links_and_templates(text, counts)
    text = _strip_lines(text, counts)
    if "=" in text and (text.startswith("=") or "\n=" in text):
        if _is_only_headings(text, title):
            counts["heading_only_pages"] += 1
            return ""
        text = _replace(_HEADING, r"\2", text, "heading_marks", counts)
    if "_" in text and "__" in text:
        text = _replace(_MAGIC_WORD, "", text, "magic_words", counts)
    if _ODD_PARENTHESIS.search(text):
        text = _replace(_EMPTY_PARENTHESES, "", text, "empty_parentheses", counts)
        text = _replace(_PARENTHESIS_OF_NOTHING, "(", text, "empty_parentheses", counts)
    if len(text) <= len(title) + 2 and text.strip() == title:
        counts["heading_only_pages"] += 1
        return ""
    return before if text == before else text


def _is_only_headings(text: str, title: str) -> bool:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return all(line == title or _HEADING.match(line) for line in lines)


def _strip_tags(text: str, counts: Counter[str]) -> str:
    """Entities become characters; then tags, and elements that are no prose, go."""
    if "&" in text:
        # Twice, since extractors leave &amp;nbsp;, too.
        for _ in range(2):
            text = _replace(_ENTITY, _unescape, text, "html_entities", counts)
    if "<" in text:
        text = _replace(_COMMENT, "", text, "html_tags", counts)
        text = _replace(_ELEMENT, "", text, "html_tags", counts)
        text = _replace(_TAG, _break_for, text, "html_tags", counts)
    return text


def _unescape(found: re.Match[str]) -> str:
    """The character of an entity; white space of every kind as a plain space."""
    character = html.unescape(found[0])
    return " " if character.isspace() else character


def _break_for(found: re.Match[str]) -> str:
    return "\n" if found[0][1:3].lower() == "br" else ""


def _strip_links_and_templates(text: str, counts: Counter[str]) -> str:
    if "{" in text and "{{" in text:
        for _ in range(_DEEPEST_TEMPLATE):
            shorter = _replace(_TEMPLATE, "", text, "templates", counts)
            if shorter == text:
                break
            text = shorter
    if "[" in text and "[[" in text:
        text = _replace(_LINK_TO_FILE, "", text, "file_and_category_links", counts)
        text = _replace(_LINK, r"\1", text, "links", counts)
    return text


def _strip_lines(text: str, counts: Counter[str]) -> str:
    """Lines of tables, of captions, and of categories go."""
    if "|" in text:
        text = _replace(_FILE_LINE, "", text, "image_lines", counts)
        text = _replace(_IMAGE_LINE, "", text, "image_lines", counts)
    if "|" in text or ("!" in text and "\n!" in text):
        text = _replace(_TABLE_LINE, "", text, "table_lines", counts)
    if _CATEGORY_SIGN in text or (
        not text.isascii() and any(sign in text for sign in _OTHER_CATEGORY_SIGNS)
    ):
        text = _replace(_CATEGORY_LINE, "", text, "category_lines", counts)
    return text


def _replace(
    pattern: re.Pattern[str], new: object, text: str, name: str, counts: Counter[str]
) -> str:
    replaced, number = pattern.subn(new, text)  # type: ignore[call-overload]
    if number and replaced != text:
        counts[name] += number
    return str(replaced)
