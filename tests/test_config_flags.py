"""`--config=…` and `--config.key=value`, from every kind of file."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from bert_jax.config import Config, ConfigError
from bert_jax.config_flags import load_config, shipped_configs, split_arguments
from bert_jax.config_sections import SourceConfig

ARGUMENTS = dict.fromkeys(("text_mini", "text_mini_len512"), ":/texts/**/*.txt")


def problems(*argv: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(argv)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_shipped_configurations(name: str) -> None:
    config = load_config([f"--config={name}{ARGUMENTS[name] if name in ARGUMENTS else ''}"])
    assert config != Config()
    text = shipped_configs()[name].read_text(encoding="utf-8")
    for word in ("Source:", "Command:", "Hardware:"):
        assert word in text, f"{name} says no {word}"


def test_shipped_configurations_that_build_on_others_in_a_checkout() -> None:
    """There `configs/` stands beside the package, and is no folder of it."""
    checkout = pathlib.Path(__file__).parents[1]
    code = (
        "from bert_jax.config_flags import load_config, shipped_configs as s\n"
        "print(load_config(['--config=wiki_books_large_len512']).model.name)\n"
        "print(s()['tiny_cpu'].parent)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["large", str(checkout / "configs")]


def test_the_shipped_ones_are_found() -> None:
    assert {"tiny_cpu", "text_mini", "wiki_books_base_len128"} <= set(shipped_configs())
    assert load_config(["--config=tiny-cpu"]) == load_config(["--config", "tiny_cpu"])


@pytest.mark.parametrize("size", ["base", "large"])
def test_wiki_and_books_in_two_phases(size: str) -> None:
    first = load_config([f"--config=wiki_books_{size}_len128:/my/books.tar.gz"])
    assert (first.train.num_steps, first.train.global_batch_size) == (900_000, 256)
    assert (first.optim.learning_rate, first.optim.warmup_steps) == (1e-4, 10_000)
    assert (first.optim.name, first.model.name) == ("bert_adamw", size)
    assert first.data.sources == (
        SourceConfig("wikipedia/20230601.en", weight=0.76),
        SourceConfig("books_corpus", path="/my/books.tar.gz", weight=0.24),
    )
    second = load_config([f"--config=wiki_books_{size}_len512"])
    assert (second.train.num_steps, second.model.name) == (100_000, size)
    assert (second.data.sequence_length, second.data.max_predictions_per_sequence) == (
        512,
        80,
    )
    assert second.data.sources[1] == SourceConfig("pg19", weight=0.24)


def test_several_globs() -> None:
    config = load_config(["--config=text_mini:/a/*.txt,/b/*.jsonl"])
    assert [s.path for s in config.data.sources] == ["/a/*.txt", "/b/*.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["--config.train.num_steps=5000"], "train.num_steps", 5000),
        (["--config.train.num-steps=5000"], "train.num_steps", 5000),
        (["--config.train.num_steps", "5000"], "train.num_steps", 5000),
        (["-config.train.num_steps=5000"], "train.num_steps", 5000),
        (
            ["--config.train.num_steps=1", "--config.train.num_steps=900"],
            "train.num_steps",
            900,
        ),
        (["--config.optim.learning_rate=1"], "optim.learning_rate", 1.0),
        (["--config.optim.learning_rate=3e-4"], "optim.learning_rate", 3e-4),
        (["--config.model.hidden_size=256"], "model.hidden_size", 256),
        (["--config.mesh.data", "-1"], "mesh.data", -1),
        (["--config.tokenizer.lowercase=false"], "tokenizer.lowercase", False),
        (["--noconfig.tokenizer.lowercase"], "tokenizer.lowercase", False),
        (["--config.tokenizer.lowercase"], "tokenizer.lowercase", True),
        (["--config.data.directory=123"], "data.directory", "123"),
        (["--config.data.directory=a=b"], "data.directory", "a=b"),
        (["--config.data.sources=pg19"], "data.sources", (SourceConfig("pg19"),)),
        (
            ["--config.data.sources=wikipedia/20230601.en", "--config.data.sources=pg19"],
            "data.sources",
            (SourceConfig("wikipedia/20230601.en"), SourceConfig("pg19")),
        ),
        (
            ["--config.data.sources=[{'name': 'text_files', 'path': '/x'}, 'pg19']"],
            "data.sources",
            (SourceConfig("text_files", path="/x"), SourceConfig("pg19")),
        ),
        (["--config.data.sources[0].name=c4"], "data.sources", (SourceConfig("c4"),)),
    ],
)
def test_overrides(arguments: list[str], path: str, value: object) -> None:
    config = load_config(["--config=tiny_cpu", *arguments])
    section, name = path.split(".")
    assert getattr(getattr(config, section), name) == value


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--config.train.num_steps=abc", "train.num_steps='abc' must be of type int"),
        ("--config.train.num_steps=1e3", "must be of type int"),
        ("--config.train.num_steps=", "must be of type int"),
        ("--config.optim.learning_rate=fast", "must be of type float"),
        ("--config.tokenizer.lowercase=maybe", "must be of type bool"),
        ("--config.model.hidden_size=None", "must be of type int"),
        ("--config.train.num_stpes=5", "did you mean train.num_steps?"),
        ("--config.learning_rate=5", "did you mean optim.learning_rate?"),
        ("--config.optim.lr=5", "optim has name, learning_rate"),
        ("--config.train=5", "train is a group of fields"),
        ("--config.train.num_steps.x=5", "is not a field"),
        ("--config.data.sources[3].path=x", "data.sources has only 1 item(s)"),
        ("--config.data.sources.path=x", "did you mean data.sources[0].path?"),
        ("--config.data.sources=(1,", "must be of type list"),
        ("--config.data.sources=3", "data.sources[0]=3 must be a group"),
        ("--config.data.sources=text_files", "data.sources[0].path='' must be set"),
        ("--config.__class__=3", "is not a field"),
        ("--config.train.dtype=f32", "did you mean 'float32'?"),
        ("--config.train.num_steps=100", "optim.warmup_steps="),
    ],
)
def test_mistaken_overrides(argument: str, said: str) -> None:
    (line,) = problems("--config=tiny_cpu", argument)
    assert said in line


def test_mistaken_overrides_are_told_together() -> None:
    lines = problems(
        "--config=tiny_cpu",
        "--config.train.num_steps=abc",
        "--config.optim.beta1=2",
        "--config.nothing=1",
    )
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--config must be given with a name or a file; shipped: text_mini"),
        (["--config"], "--config needs a value"),
        (["--config=tiny_cpu", "--config=tiny_cpu"], "once, not several times"),
        (["--config=tinycpu"], "did you mean tiny_cpu?"),
        (["--config=nothing-like-it"], "a file's name ends in .py or .json"),
        (["--config="], "must be one of"),
        (["--config=absent.py:3"], "no such file: absent.py"),
        (["--config=absent.json"], "no such file"),
        (["--config=text_mini"], "give a glob"),
        (["--config=tiny_cpu:x"], "takes no argument"),
        (["--config=tiny_cpu", "--workdir=x"], "--workdir=x is not an argument"),
    ],
)
def test_mistaken_names(arguments: list[str], said: str) -> None:
    (line,) = problems(*arguments)
    assert said in line


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def get_config(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "AttributeError"),
        ("def get_config():\n    return 3", "must return a ConfigDict, not int"),
        ("def get_config():\n    return {'trian': {}}", "did you mean train?"),
        ("def get_config():\n    raise ValueError('two\\nlines')", "two lines"),
        ("def get_config():\n    return {'train': {'num_steps': '5'}}", "of type int"),
    ],
)
def test_mistaken_files(tmp_path: pathlib.Path, source: str, said: str) -> None:
    path = tmp_path / "run.py"
    path.write_text(source)
    (line,) = problems(f"--config={path}")
    assert said in line
    assert str(path) in line


def test_a_file_of_ones_own(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "run.py"
    path.write_text(
        "def get_config(arg):\n"
        "    return {'model': {'name': arg}, 'data': {'sources': 'pg19'}}\n"
    )
    config = load_config([f"--config={path}:mini", "--config.data.seed=3"])
    assert (config.model.name, config.data.seed) == ("mini", 3)


def test_a_json_file(tmp_path: pathlib.Path) -> None:
    config = load_config(["--config=tiny_cpu", "--config.data.seed=3"])
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert load_config([f"--config={path}"]) == config
    path.write_text('{"format_version": 1, "train": {"num_steps": 0}}')
    (line,) = problems(f"--config={path}")
    assert "train.num_steps=0 must be at least 1" in line
    path.write_text('{"train": {"num_steps": 1}}')
    (line,) = problems(f"--config={path}")
    assert "format_version=None must be 1" in line


def test_splitting_leaves_other_arguments_in_order() -> None:
    argv = [
        "a",
        "--config",
        "x",
        "--top",
        "3",
        "--config.data.seed",
        "-1",
        "--",
        "--config=y",
    ]
    ours, others = split_arguments(argv)
    assert ours == ["--config=x", "--config.data.seed=-1"]
    assert others == ["a", "--top", "3", "--", "--config=y"]
    assert split_arguments(["--configure=3"]) == ([], ["--configure=3"])
