"""The floors of the house: who may import whom, parsed from the source."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

# Lowest first. A part imports from lower floors and from itself, never from another part
# of its own floor, never upward.
FLOORS = (
    ("strict_fields", "batch", "random_bits", "bert_config", "hub", "findings"),
    ("config_sections",),
    ("mesh_conflicts",),
    ("config",),
    ("formats",),
    ("config_flags", "parallel", "model", "objective", "text", "report"),
    ("pretrained", "corpora", "optim"),
    ("data",),
    ("train",),
    ("tasks",),
    ("preflight", "model_verbs"),
    ("doctor_verb", "plan_verb"),
    ("verbs",),
    ("cli",),
    ("__main__",),
    ("__init__",),  # resolves public names lazily; nothing inside imports from it
)
FLOOR_OF = {part: number for number, parts in enumerate(FLOORS) for part in parts}

# What people know as methods of BertConfig lies upstairs; imported when it is called.
UPSTAIRS = {
    ("bert_config", "bert_jax.pretrained.config_files"),
    ("bert_config", "bert_jax.pretrained.saving"),
    ("bert_config", "bert_jax.pretrained.sources"),
}

# Part (or module) -> packages that it must not import itself.
DEVICE = {"jax", "jaxlib", "flax", "optax", "orbax"}
INPUT = {"grain", "tensorflow_datasets", "array_record"}
CONFIG = (
    "config",
    "config_sections",
    "mesh_conflicts",
    "bert_config",
    "strict_fields",
    "config_flags",
)
SURFACE = ("preflight", "model_verbs", "doctor_verb", "plan_verb", "verbs", "cli")
FORBIDDEN = {
    **dict.fromkeys(("data", "text", "corpora", "report"), DEVICE),
    **dict.fromkeys((*CONFIG, *SURFACE, "batch"), DEVICE | INPUT),
    **dict.fromkeys(("model", "objective", "optim", "parallel", "train.step"), INPUT),
}
NOWHERE = {"tensorflow", "torch", "transformers", "clu"}


def package_directory() -> pathlib.Path:
    import bert_jax

    return pathlib.Path(bert_jax.__file__).parent


def imports(path: pathlib.Path, package: pathlib.Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    parents = ("bert_jax", *path.relative_to(package).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parents[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            is_root = module == "bert_jax"
            yield from (f"{module}.{a.name}" for a in node.names) if is_root else (module,)


def violations(package: pathlib.Path) -> list[str]:
    """One line for each import that breaks a rule."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if inside.parts[0] == "configs":
            continue
        part = inside.parts[0].removesuffix(".py")
        module = ".".join(inside.with_suffix("").parts)
        if part not in FLOOR_OF:
            found.append(f"{inside}: {part} stands on no floor")
            continue
        banned = NOWHERE | FORBIDDEN.get(part, set()) | FORBIDDEN.get(module, set())
        for name in imports(path, package):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top in banned:
                found.append(f"{inside}: imports {name}")
            if top != "bert_jax" or target == part or (part == "cli" and not rest):
                continue
            if (module, name) in UPSTAIRS:
                continue
            if target not in FLOOR_OF or FLOOR_OF[target] >= FLOOR_OF[part]:
                found.append(f"{inside}: imports {name}, which is not on a lower floor")
    return found


def test_the_house_keeps_its_floors() -> None:
    assert violations(package_directory()) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("model/bert.py", "from bert_jax.train.step import x", "not on a lower floor"),
        ("model/bert.py", "from bert_jax.parallel import mesh", "not on a lower floor"),
        ("model/bert.py", "from bert_jax import BertConfig", "not on a lower floor"),
        ("model/bert.py", "from ..objective import losses", "not on a lower floor"),
        ("model/bert.py", "import bert_jax", "not on a lower floor"),
        ("model/bert.py", "def f():\n    import grain.python", "imports grain.python"),
        ("train/step.py", "import tensorflow_datasets", "imports tensorflow_datasets"),
        ("data/stream.py", "import jax.numpy as jnp", "imports jax.numpy"),
        ("config.py", "import jax", "imports jax"),
        ("config.py", "import bert_jax.pretrained.saving", "not on a lower floor"),
        ("cli.py", "import jax", "imports jax"),
        ("tasks/a.py", "import tensorflow as tf", "imports tensorflow"),
        ("utils.py", "", "stands on no floor"),
        ("train/loop.py", "from bert_jax.train.step import x\nimport grain", ""),
        ("train/loop.py", "from .step import x\nfrom ..model import bert", ""),
    ],
)
def test_violations_are_found(
    tmp_path: pathlib.Path, path: str, source: str, message: str
) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source)
    found = violations(tmp_path)
    assert len(found) == bool(message)
    assert all(message in line for line in found)


IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"import of {name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
import bert_jax
for part in sys.argv[2].split(","):
    module = importlib.import_module(f"bert_jax.{part}")
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        importlib.import_module(f"{module.__name__}.{info.name}")
        print(info.name)
"""


@pytest.mark.parametrize(
    ("blocked", "parts"),
    [
        ("jax,tensorflow", "batch,config,config_flags,cli,text,corpora,data,report"),
        (
            "grain,tensorflow_datasets,tensorflow,array_record",
            "model,objective,optim,parallel,train.step",
        ),
    ],
)
def test_parts_do_without(run_python: Any, blocked: str, parts: str) -> None:
    done = run_python("-c", IMPORT_ALL, blocked, parts)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 8  # modules inside the parts were really imported


def test_blocked_imports_raise(run_python: Any) -> None:
    done = run_python("-c", IMPORT_ALL, "jax", "model")
    assert done.returncode != 0
    assert "import of jax is blocked" in done.stderr
