"""The Python blocks of the documentation run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "docs/reuse.md"])
@pytest.mark.filterwarnings("ignore:.*initialised at random")  # heads that the run has not
def test_blocks_run_in_order(
    name: str,
    repository: Path,
    tiny_workdir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = repository / name
    if not path.is_file():
        pytest.skip("the documentation is not part of an installed package")
    monkeypatch.chdir(tmp_path)
    for model in ("runs/tiny", "path-or-hub-name"):  # as the README calls them
        Path(model).parent.mkdir(exist_ok=True)
        Path(model).symlink_to(tiny_workdir)
    # The largest model of the README is drawn in its smallest size: seconds less.
    text = path.read_text(encoding="utf-8").replace('named("base"', 'named("tiny"')
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
