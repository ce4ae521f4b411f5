"""The blocks of docs/ run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["reuse.md"])
def test_blocks_run_in_order(name: str, repository: Path, tiny_workdir: Path) -> None:
    path = repository / "docs" / name
    if not path.is_file():
        pytest.skip("the documentation is not part of an installed package")
    text = path.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert blocks
    names = {"path": str(tiny_workdir)}
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        # Padded with empty lines, so that an error names its line in the document.
        exec(compile("\n" * line + block.group(1), str(path), "exec"), names)


def test_a_block_that_fails_is_noticed() -> None:
    (block,) = BLOCK.findall("text\n```python\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError):
        exec(block, {})
