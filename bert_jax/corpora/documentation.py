"""Where the documentation texts of an installed Python distribution are found.

Sources are parsed, never imported. Everything is in a fixed order, so that the same
environment gives the same texts.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

STANDARD_LIBRARY = "python"
MAX_SOURCE_BYTES = 1_000_000
MIN_TEXT_CHARACTERS = 60
_OWN_NAMES = frozenset({"bert-jax"})
# Tests, copies of other packages, and what is no documentation of its own.
_TESTS = {"test", "tests", "testing", "_test_files", "conftest.py", "idlelib", "lib2to3"}
_COPIES = {
    "_vendor",
    "_vendored",
    "vendor",
    "vendored",
    "third_party",
    "extern",
    "external",
}
_OTHERS = {"site-packages", "dist-packages", "__pycache__", "_distutils", "turtledemo"}
_SKIPPED_PARTS = frozenset(_TESTS | _COPIES | _OTHERS | {"pydoc_data", "node_modules"})
_Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True)
class Texts:
    """The documentation texts of one module, README or topic, in source order."""

    distribution: str
    title: str
    texts: tuple[str, ...]


def installed_versions() -> dict[str, str]:
    """Distribution names (normalised, the standard library first) and versions."""
    versions = {STANDARD_LIBRARY: ".".join(map(str, sys.version_info[:3]))}
    versions.update((name, d.version) for name, d in installed_distributions().items())
    return versions


def standard_library_texts() -> Iterator[Texts]:
    """The topics of pydoc, then the docstrings of the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_PARTS]
        inside = Path(folder).relative_to(root)
        paths += [inside / name for name in files if name.endswith(".py")]
    yield from _topics(root / "pydoc_data" / "topics.py")
    yield from _modules(STANDARD_LIBRARY, [(path, root / path) for path in sorted(paths)])


def distribution_texts(
    name: str, found: importlib.metadata.Distribution
) -> Iterator[Texts]:
    """The description of an installed distribution, then the docstrings of its modules."""
    description = found.metadata.get_payload()  # type: ignore[attr-defined]
    description = description or found.metadata["Description"]
    if isinstance(description, str) and description.strip():
        yield Texts(name, f"{name} (description)", (description,))
    listed = [Path(str(p)) for p in found.files or () if str(p).endswith((".py", ".pyi"))]
    paths = [(path, Path(str(found.locate_file(path)))) for path in sorted(listed)]
    yield from _modules(name, paths)


def installed_distributions() -> dict[str, importlib.metadata.Distribution]:
    """Installed distributions by normalised name, sorted; the first of a name counts."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for item in importlib.metadata.distributions():
        name = item.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), item)
    return {name: found[name] for name in sorted(found) if name not in _OWN_NAMES}


def _modules(distribution: str, paths: list[tuple[Path, Path]]) -> Iterator[Texts]:
    """The docstrings of source files, given as (path of the module, path on disk)."""
    for relative, path in paths:
        parts = relative.parts
        if _SKIPPED_PARTS.intersection(parts) or ".." in parts or relative.is_absolute():
            continue
        if relative.name.startswith("test_") or relative.name.endswith("_test.py"):
            continue
        if not path.is_file() or path.stat().st_size > MAX_SOURCE_BYTES:
            continue
        texts = tuple(source_texts(path.read_bytes()))
        if texts:
            names = [*parts[:-1], relative.stem]
            yield Texts(distribution, ".".join(n for n in names if n != "__init__"), texts)


def source_texts(source: bytes) -> Iterator[str]:
    """Docstrings of a module, in source order, and long strings given to `add_newdoc`."""
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    yield from _docstrings(tree)


def _docstrings(node: _Scope) -> Iterator[str]:
    """Strings that stand alone as statements, of this scope and of those inside it."""
    for child in node.body:
        if isinstance(child, ast.Expr):
            yield from _statement_strings(child.value)
        elif isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child)


def _statement_strings(value: ast.expr) -> Iterator[str]:
    """A docstring, or the long strings among the arguments of a documenting call."""
    strings = [value]
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else ""
        name = value.func.id if isinstance(value.func, ast.Name) else name
        strings = list(value.args) if "doc" in name else []
    for item in strings:
        if (
            isinstance(item, ast.Constant)
            and isinstance(item.value, str)
            and len(item.value) >= MIN_TEXT_CHARACTERS
        ):
            yield item.value


def _topics(path: Path) -> Iterator[Texts]:
    """The language reference that pydoc carries: {topic: text} in one file."""
    if not path.is_file():
        return
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics = ast.literal_eval(node.value)
            for name in sorted(topics):
                yield Texts(STANDARD_LIBRARY, f"pydoc topic {name}", (topics[name],))
