"""The command line: help, mistakes and exit codes, without JAX."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import time
import types
from typing import Any

import pytest

from bert_jax import cli, verbs

HEAVY = (
    "jax",
    "flax",
    "optax",
    "orbax",
    "grain",
    "tensorflow_datasets",
    "tokenizers",
    "numpy",
)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts functions in the place of a module of ours that a verb imports."""

    def put(module: str, **functions: Any) -> None:
        replacement = types.ModuleType(module)
        vars(replacement).update(functions)
        monkeypatch.setitem(sys.modules, module, replacement)

    return put


def test_help_without_heavy_modules(run_python: Any, tmp_path: pathlib.Path) -> None:
    code = (
        "import sys\nfrom bert_jax.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    for arguments in (
        ["--help"],
        ["pretrain", "--help"],
        ["explain"],
        ["pretrain", "--config=tiny_cpu", "--workdir=x", "--config.train.num_steps=x"],
    ):
        done = run_python("-c", code, *arguments, cwd=tmp_path)
        assert done.stdout.splitlines()[-1] == "[]", arguments


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (["-m", "bert_jax", "--help"], 3.0),
        (
            [
                "-m",
                "bert_jax",
                "pretrain",
                "--config=tiny_cpu",
                "--workdir=x",
                "--config.x=1",
            ],
            3.0,
        ),
        (["-c", "import bert_jax"], 2.0),
    ],
)
def test_answers_at_once(
    run_python: Any, tmp_path: pathlib.Path, arguments: list[str], seconds: float
) -> None:
    start = time.monotonic()
    run_python(*arguments, cwd=tmp_path)
    assert time.monotonic() - start < seconds


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb.replace("-", "_"), "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"bert-jax {verb}" in text
    assert ("--config.KEY=VALUE" in text) == (cli.VERBS[verb].config != "none")
    assert ("it is executed" in text) == (cli.VERBS[verb].config != "none")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretrian"], "did you mean pretrain?"),
        (["--config=tiny_cpu"], "--config=tiny_cpu"),
        (["pretrain", "--config=tiny_cpu"], "--workdir"),
        (["pretrain", "--workdir=x"], "--config must be given"),
        (["pretrain", "--config=tiny_cpu", "--workdir"], "--workdir"),
        (["pretrain", "--config=tiny_cpu", "--workdir=x", "--works=3"], "--works=3"),
        (["pretrain", "--config=tiny_cpu", "--workdir=x", "extra"], "extra"),
        (["pretrain", "--config=tiny", "--workdir=x"], "did you mean tiny_cpu?"),
        (["prepare", "--config=tiny_cpu", "--config.data.seed=-1"], "data.seed=-1"),
        (["fill-mask", "model"], "text"),
        (["fill-mask", "model", "text", "--top-k=0"], "at least 1"),
        (["fill-mask", "model", "text", "--top-k=x"], "--top-k"),
        (["explain", "train.num_stpes"], "did you mean train.num_steps?"),
    ],
)
def test_mistakes(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("bert-jax: ")
    assert said in line


def test_several_mistakes_are_several_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(
        ["pretrain", "--config=tiny_cpu", "--workdir=x", "--config.a=1", "--config.b=1"]
    )
    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_traceback_on_request(
    way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["explain", "nothing"]
    if way == "flag":
        arguments.append("--traceback")
    else:
        monkeypatch.setenv("BERT_JAX_TRACEBACK", "1")
    assert cli.main(arguments) == 2
    assert "Traceback" in capsys.readouterr().err


def test_no_verb_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    text = capsys.readouterr().out
    assert [verb for verb in cli.VERBS if verb not in text] == []


def test_pretrain_gets_config_and_workdir(
    stand_in: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    stand_in(
        "bert_jax.train.pretrain",
        pretrain=lambda *args, verify_data: seen.append((*args, verify_data)),
    )
    monkeypatch.setattr(verbs, "_tell_outcome", lambda *args: seen.append(args))
    code = cli.main(
        [
            "pretrain",
            "--config",
            "tiny_cpu",
            "--config.data.seed",
            "5",
            f"--workdir={tmp_path}",
            "--verify",
        ]
    )
    assert code == 0
    (config, workdir, _, verify_data), told = seen
    assert (config.data.seed, workdir, verify_data) == (5, tmp_path, True)
    assert told == (tmp_path, None)


def test_evaluate_prints_json(
    stand_in: Any, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "config.json").touch()
    stand_in("bert_jax.train.pretrain", evaluate=lambda config, workdir: {"loss": 1.5})
    assert cli.main(["evaluate", "--config=tiny_cpu", f"--workdir={tmp_path}"]) == 0
    assert json.loads(capsys.readouterr().out) == {"loss": 1.5}


def test_evaluate_needs_no_config(stand_in: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").touch()
    seen = []
    stand_in("bert_jax.train.pretrain", evaluate=lambda *args: seen.append(args) or {})
    assert cli.main(["evaluate", f"--workdir={tmp_path}"]) == 0
    assert seen == [(None, tmp_path)]


@dataclasses.dataclass
class Prediction:
    token: str
    probability: float
    text: str


def test_fill_mask(stand_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fill_mask(model: pathlib.Path, texts: list[str], top_k: int) -> Any:
        return [[Prediction("zoë", 0.25, text)] * top_k for text in texts]

    stand_in("bert_jax.tasks.fill_mask", fill_mask=fill_mask)
    assert (
        cli.main(["fill_mask", "m", "a [MASK]", "b --top_k=9", "--top_k=2", "--json"]) == 0
    )
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["a [MASK]", "b --top_k=9"]
    prediction = {"token": "zoë", "probability": 0.25, "text": "a [MASK]"}
    assert rows[0]["predictions"] == [prediction] * 2
    assert cli.main(["fill-mask", "m", "a [MASK]"]) == 0
    assert capsys.readouterr().out.count("25.0%  zoë") == 5


@pytest.mark.parametrize("untrained", [None, {"mlm_loss": 7.5}])
def test_the_end_of_a_run_is_told(
    stand_in: Any,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    untrained: dict[str, float] | None,
) -> None:
    data = types.SimpleNamespace(data=types.SimpleNamespace(directory="prepared"))
    predictions = [[Prediction("word", 0.5, "a word b")]] * 3
    stand_in("bert_jax.text.tokenizer", load_tokenizer=lambda path: path.name)
    stand_in(
        "bert_jax.train.workdir", TOKENIZER="tokenizer", load_config_of=lambda workdir: data
    )
    stand_in(
        "bert_jax.tasks.fill_mask",
        fill_mask=lambda workdir, texts, top_k: predictions,
        held_out_examples=lambda path, tokenizer, count: (
            [f"{path} {tokenizer} [MASK]"] * count
        ),
    )
    outcome = types.SimpleNamespace(
        metrics={"mlm_loss": 5.0},
        untrained=untrained,
        unigram={"mlm_loss": 6.25},
        nats_below_unigram=1.25,
    )
    verbs._tell_outcome(tmp_path, outcome)
    text = capsys.readouterr().out
    assert f"The model is in {tmp_path}." in text
    assert "mlm_loss 5.000" in text
    assert "mlm_loss 6.250" in text
    assert ("  before training   mlm_loss 7.500" in text) == (untrained is not None)
    assert "1.25 nats below" in text
    assert text.count("prepared tokenizer [MASK]\n   50.0%  word") == 3


@pytest.mark.parametrize(
    ("loss", "untrained", "said"),
    [
        (5.0, 7.5, "1.25 nats below word frequencies"),
        (6.5, 7.5, "0.25 nats ABOVE word frequencies, and still learning: train longer"),
        (7.5, 7.5, "1.25 nats ABOVE word frequencies: it has learned nothing, or has"),
        (7.5, None, "1.25 nats ABOVE word frequencies: it has learned nothing, or has"),
    ],
)
def test_the_verdict_fits_the_losses(
    loss: float, untrained: float | None, said: str
) -> None:
    outcome = types.SimpleNamespace(
        metrics={"mlm_loss": loss},
        untrained=None if untrained is None else {"mlm_loss": untrained},
        nats_below_unigram=6.25 - loss,
    )
    assert verbs._verdict(outcome).startswith(said)


def raise_ours(*args: Any, **kwargs: Any) -> None:
    from bert_jax.config import Config

    Config.from_dict({"data": {"seed": -1}})


def raise_from_library(*args: Any, **kwargs: Any) -> None:
    json.loads("{")


def raise_os_error(*args: Any, **kwargs: Any) -> None:
    raise PermissionError(13, "Permission denied", "/root/x")


def raise_runtime_error(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("not ours")


def interrupt(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("behaviour", "code", "has_traceback"),
    [
        (raise_ours, 2, False),
        (raise_from_library, 1, True),
        (raise_os_error, 1, False),
        (raise_runtime_error, 1, True),
        (interrupt, 130, False),
    ],
)
def test_exit_codes(
    stand_in: Any,
    capsys: pytest.CaptureFixture[str],
    behaviour: Any,
    code: int,
    has_traceback: bool,
) -> None:
    stand_in("bert_jax.train.pretrain", pretrain=behaviour)
    assert cli.main(["pretrain", "--config=tiny_cpu", "--workdir=x"]) == code
    text = capsys.readouterr().err
    assert ("Traceback" in text) == has_traceback
    assert text.splitlines()[-1].startswith("bert-jax: ")


def test_explain_lists_all_and_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 40
    assert cli.main(["explain", "config.train.num-steps"]) == 0
    text = capsys.readouterr().out
    assert "updates in the whole run" in text
    assert "1000000" in text
    assert "at least 1" in text
    assert cli.main(["explain", "mesh"]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown[:4] == ["mesh.data", "mesh.fsdp", "mesh.tensor", "mesh.sequence"]
