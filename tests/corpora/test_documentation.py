"""Finding documentation texts in sources that are parsed and never run."""

from __future__ import annotations

import importlib.metadata
import pathlib

from bert_jax.corpora.documentation import (
    distribution_texts,
    installed_distributions,
    installed_versions,
    source_texts,
    standard_library_texts,
)

LONG = "This is a text that is long enough to be taken for documentation, and it has words."

SOURCE = f'''"""Module. {LONG}"""
raise SystemExit("sources are never run")

class Thing:
    """Class. {LONG}"""

    def method(self):
        """Method. {LONG}"""
        text = """Not documentation. {LONG}"""

        async def inner():
            """Inner. {LONG}"""

    def short(self):
        """Too short."""

add_newdoc("module", "name", """Added. {LONG}""")
print("""Printed. {LONG}""")
'''


def make_distribution(
    site: pathlib.Path, name: str, files: dict[str, str], description: str
) -> importlib.metadata.Distribution:
    """An installed distribution with these source files."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n{description}"
    )
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    return importlib.metadata.Distribution.at(info)


def test_docstrings_come_in_source_order() -> None:
    found = [text.split(".")[0] for text in source_texts(SOURCE.encode())]
    assert found == ["Module", "Class", "Method", "Inner", "Added"]


def test_sources_that_cannot_be_parsed_are_passed_over() -> None:
    for source in (
        b'"""',
        b'def f(:\n  """x"""',
        b"\xff\xfe'''\0'''",
        b'"""' + b"(" * 100_000,
    ):
        assert list(source_texts(source)) == []


def test_a_distribution_gives_its_description_and_modules(tmp_path: pathlib.Path) -> None:
    files = {
        "pack/__init__.py": SOURCE,
        "pack/sub/mod.py": SOURCE,
        "pack/tests/test_mod.py": SOURCE,
        "pack/_vendor/other.py": SOURCE,
        "pack/data.txt": SOURCE,
        "pack/plain.py": "x = 1\n",
    }
    made = make_distribution(tmp_path, "pack", files, f"Read me. {LONG}")
    found = list(distribution_texts("pack", made))
    assert [texts.title for texts in found] == [
        "pack (description)",
        "pack",
        "pack.sub.mod",
    ]
    assert found[0].texts == (f"Read me. {LONG}",)
    assert {texts.distribution for texts in found} == {"pack"}


def test_the_standard_library_has_topics_and_modules() -> None:
    titles = [texts.title for texts in standard_library_texts()]
    assert "pydoc topic assert" in titles
    assert {"json", "argparse", "collections.abc", "asyncio.tasks"} & set(titles) >= {
        "json",
        "asyncio.tasks",
    }
    assert len(titles) == len(set(titles))
    assert not [t for t in titles if "site-packages" in t or t.startswith("test.")]


def test_the_project_itself_is_not_part_of_its_corpus() -> None:
    names = list(installed_distributions())
    assert names == sorted(names)
    assert "bert-jax" not in names
    assert {"python", "numpy", "jax"} <= set(installed_versions())
