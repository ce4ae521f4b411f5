"""What is installed is what is declared: dependencies, configs, public names."""

from __future__ import annotations

import ast
import importlib.metadata
import pathlib
import re
import sys
from typing import Any

import pytest

import bert_jax

# Distribution -> the module it is imported as, where the names differ.
MODULE_OF = {
    "absl-py": "absl",
    "apache-beam": "apache_beam",
    "google-crc32c": "google_crc32c",
    "huggingface-hub": "huggingface_hub",
    "ml-collections": "ml_collections",
    "orbax-checkpoint": "orbax",
    "tensorflow-datasets": "tensorflow_datasets",
}
# Declared though we do not import them, each with its reason.
NOT_OURS = {
    "importlib_resources": "tensorflow-datasets imports it and does not declare it",
    "flatbuffers": "jax.export serializes with it and does not declare it",
    "protobuf": "the messages of sentencepiece need it and do not declare it",
}


def setup_lists(repository: pathlib.Path) -> dict[str, Any]:
    """INSTALL_REQUIRES and EXTRAS_REQUIRE, as setup.py writes them."""
    tree = ast.parse((repository / "setup.py").read_text(encoding="utf-8"))
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.endswith(("_REQUIRE", "_REQUIRES"))
    }


def modules_of(requirements: list[str]) -> set[str]:
    names = [re.split(r"[<>=\[;]", item)[0] for item in requirements]
    return {MODULE_OF[name] if name in MODULE_OF else name for name in names}


def imported_modules() -> set[str]:
    """Top names of all modules that the package imports, outside the standard library."""
    found = set()
    for path in pathlib.Path(bert_jax.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"bert_jax"}


def test_every_dependency_is_imported_and_every_import_declared(
    repository: pathlib.Path,
) -> None:
    lists = setup_lists(repository)
    declared = modules_of(lists["INSTALL_REQUIRES"])
    used = imported_modules()
    assert declared - set(NOT_OURS) - used == set()
    optional = modules_of(
        [item for extra in lists["EXTRAS_REQUIRE"].values() for item in extra]
    )
    assert used - declared - optional == set()


def test_every_dependency_has_a_lower_bound(repository: pathlib.Path) -> None:
    lists = setup_lists(repository)
    extras = lists["EXTRAS_REQUIRE"]
    for item in [
        *lists["INSTALL_REQUIRES"],
        *(x for extra in extras.values() for x in extra),
    ]:
        assert re.search(r"[>=]=", item), item
    assert set(extras) >= {"test", "peers", "tpu", "cuda", "beam", "report", "hub"}
    assert not {"torch", "transformers"} & modules_of(extras["test"])


def test_installed_bounds_hold(repository: pathlib.Path) -> None:
    from importlib.metadata import version

    for item in setup_lists(repository)["INSTALL_REQUIRES"]:
        name, low = re.findall(r"^([\w-]+)>=([\d.]+)", item)[0]
        have = [int(part) for part in re.findall(r"\d+", version(name))]
        assert have >= [int(part) for part in low.split(".")], item


def test_public_names_are_lazy_and_resolve(run_python: Any) -> None:
    code = (
        "import sys, bert_jax\n"
        "assert not {'jax', 'flax', 'numpy', 'tokenizers'} & set(sys.modules)\n"
        "for name in bert_jax.__all__: assert getattr(bert_jax, name).__name__ == name\n"
        "assert set(bert_jax.__all__) <= set(dir(bert_jax))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(pathlib.Path(bert_jax.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bert_jax.")
        for alias in node.names
    }
    assert typed == bert_jax._MODULES
    assert sorted(typed) == sorted(bert_jax.__all__)


def test_unknown_public_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'BertForNothing'"):
        bert_jax.BertForNothing  # noqa: B018


@pytest.fixture
def distribution() -> importlib.metadata.Distribution:
    """What pip installed; tests of it skip when the package runs from a checkout."""
    place = pathlib.Path(bert_jax.__file__).parent.parent
    for found in importlib.metadata.distributions(name="bert_jax", path=[str(place)]):
        if pathlib.Path(str(found.locate_file(""))) == place and found.files:
            return found
    pytest.skip("bert_jax runs from a checkout; `pip install .` first")


def test_version_is_the_installed_one(
    distribution: importlib.metadata.Distribution,
) -> None:
    assert distribution.version == bert_jax.__version__


def test_installed_files(distribution: importlib.metadata.Distribution) -> None:
    files = {str(path) for path in distribution.files or ()}
    assert {"bert_jax/py.typed", "bert_jax/configs/tiny_cpu.py"} <= files
    assert not [name for name in files if name.startswith(("configs/", "tests/"))]
    assert any(name.endswith("licenses/LICENSE") for name in files)
    assert any(name.endswith("bin/bert-jax") for name in files)


def test_installed_requirements(
    distribution: importlib.metadata.Distribution, repository: pathlib.Path
) -> None:
    plain = {item for item in distribution.requires or () if "extra ==" not in item}
    names = {re.split(r"[<>=]", item)[0].lower().replace("_", "-") for item in plain}
    declared = setup_lists(repository)["INSTALL_REQUIRES"]
    assert names == {
        re.split(r"[<>=]", item)[0].lower().replace("_", "-") for item in declared
    }


def test_checkout_finds_its_configs_from_elsewhere(
    run_python: Any, repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    code = "from bert_jax.config_flags import *; print(*shipped_configs().values())"
    env = {"PYTHONPATH": str(repository)}
    done = run_python("-c", code, cwd=tmp_path, env=env)
    assert str(repository / "configs" / "tiny_cpu.py") in done.stdout, done.stderr
