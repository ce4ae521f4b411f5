"""SHA256SUMS: what `sha256sum` says, we say."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from formats.foreign_files import flips

from bert_jax.formats.hashes import check_hashes, renew_hashes, write_hashes


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "a b.txt").write_bytes(b"one")
    (tmp_path / "tokenizer" / "vocab.txt").write_bytes(b"two\n")
    (tmp_path / "unlisted").write_bytes(b"three")
    write_hashes(tmp_path, ["tokenizer/vocab.txt", "a b.txt"])
    return tmp_path


def test_format(directory: Path) -> None:
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two\n"))
    expected = f"{one}  a b.txt\n{two}  tokenizer/vocab.txt\n"
    assert (directory / "SHA256SUMS").read_text() == expected
    assert check_hashes(directory)
    assert len(list(directory.iterdir())) == 4


def test_only_what_is_asked_for_is_looked_at(directory: Path) -> None:
    (directory / "a b.txt").write_bytes(b"other")
    assert check_hashes(directory, ["tokenizer/vocab.txt", "unlisted", "absent"])
    with pytest.raises(ValueError, match=r"a b\.txt has SHA-256"):
        check_hashes(directory, ["tokenizer/vocab.txt", "a b.txt"])


def test_renewed(directory: Path, tmp_path: Path) -> None:
    (directory / "a b.txt").write_bytes(b"other")
    before = (directory / "SHA256SUMS").read_text().splitlines()
    renew_hashes(directory, ["a b.txt", "unlisted"])
    after = (directory / "SHA256SUMS").read_text().splitlines()
    assert check_hashes(directory) and len(after) == 3
    assert before[1] in after and before[0] not in after
    (directory / "SHA256SUMS").unlink()
    renew_hashes(directory, ["a b.txt"])
    assert not (directory / "SHA256SUMS").exists()


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_the_tool_agrees(directory: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=directory, capture_output=True).returncode == 0
    written = subprocess.run(
        ["sha256sum", "--binary", "a b.txt"], cwd=directory, capture_output=True, check=True
    )
    (directory / "SHA256SUMS").write_bytes(written.stdout)
    assert check_hashes(directory)


def test_no_list(tmp_path: Path) -> None:
    assert not check_hashes(tmp_path)


def test_the_first_file_that_differs_is_named(directory: Path) -> None:
    (directory / "tokenizer" / "vocab.txt").write_bytes(b"twO\n")
    with pytest.raises(ValueError, match=r"vocab\.txt has SHA-256 \w{12}…; it must be"):
        check_hashes(directory)
    (directory / "a b.txt").unlink()
    with pytest.raises(ValueError, match=r"a b\.txt is not there, and SHA256SUMS lists it"):
        check_hashes(directory)


def test_any_flipped_bit_of_the_list(directory: Path) -> None:
    path = directory / "SHA256SUMS"
    content = path.read_bytes()
    kept = []
    for place, damaged in flips(content, len(content), seed=0):
        path.write_bytes(damaged)
        try:
            check_hashes(directory)
            kept.append((content[place], damaged[place]))
        except ValueError as error:
            assert "\n" not in str(error)
    # Only what means the same is let through: the mark of sha256sum --binary.
    assert set(kept) <= {(ord(" "), ord("*"))}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a",
        "0" * 63 + "  a b.txt",
        "g" * 64 + "  a b.txt",
        "\\" + "0" * 64 + "  a\\nb",
        "0" * 64 + "  ",
        "0" * 64 + "  a\0b",
        "0" * 64 + "  /etc/passwd",
        "0" * 64 + "  ../a",
        "0" * 64 + "  tokenizer/../../a",
        "0" * 64 + "  SHA256SUMS",
    ],
)
def test_broken_lists(directory: Path, line: str) -> None:
    (directory / "SHA256SUMS").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"line 1 must be|must list files|it is empty$"):
        check_hashes(directory)


def test_a_name_stands_once(directory: Path) -> None:
    path = directory / "SHA256SUMS"
    path.write_text(path.read_text() * 2)
    with pytest.raises(ValueError, match="line 3 must be"):
        check_hashes(directory)


@pytest.mark.parametrize(
    "names", [[], ["../a"], ["/a"], ["a\\b"], ["a\nb"], ["SHA256SUMS"]]
)
def test_names_that_are_not_listed(directory: Path, names: list[str]) -> None:
    before = (directory / "SHA256SUMS").read_text()
    for name in names:
        if "/" not in name and name != "SHA256SUMS":
            (directory / name).write_bytes(b"")
    with pytest.raises(ValueError, match="list"):
        write_hashes(directory, names)
    assert (directory / "SHA256SUMS").read_text() == before
