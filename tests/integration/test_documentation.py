"""The Python blocks of the README and of docs/ run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run_blocks(path: Path, text: str, names: dict[str, object]) -> int:
    """Runs the blocks in order and in one namespace; returns how many there are."""
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        # Padded with empty lines, so that an error names its line in the document.
        exec(compile("\n" * line + block.group(1), str(path), "exec"), names)
    return len(blocks)


def document(repository: Path, name: str) -> Path:
    path = repository / name
    if not path.is_file():
        pytest.skip("the documentation is not part of an installed package")
    return path


def test_reuse(repository: Path, tiny_workdir: Path) -> None:
    path = document(repository, "docs/reuse.md")
    names: dict[str, object] = {"path": str(tiny_workdir)}
    assert run_blocks(path, path.read_text(encoding="utf-8"), names)


def test_readme(
    repository: Path, tiny_workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the workdirs that it names, and a tiny model where it makes one of base size."""
    path = document(repository, "README.md")
    text = path.read_text(encoding="utf-8")
    assert text.count('named("base"') == 1
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("runs/tiny", "path-or-hub-name"):
        (tmp_path / name).symlink_to(tiny_workdir)
    with pytest.warns(UserWarning, match="initialised at random"):  # a new classifier
        assert run_blocks(path, text.replace('named("base"', 'named("tiny"'), {}) == 3
    assert (tmp_path / "my-folder" / "model.safetensors").is_file()


def test_a_block_that_fails_is_noticed() -> None:
    text = "text\n```python\nx = 1\n```\n```python\nassert x == 2\n```\n"
    with pytest.raises(AssertionError):
        run_blocks(Path("a.md"), text, {})
