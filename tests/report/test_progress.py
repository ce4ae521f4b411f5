"""The progress line, on a terminal and off it."""

from __future__ import annotations

import io
import os
import pty

import pytest

from bert_jax.report import progress as progress_module
from bert_jax.report.progress import Progress

ROW = {
    "step": 20,
    "loss": 6.54321,
    "mlm_loss": 6.0,
    "mlm_accuracy": 0.123,
    "nsp_accuracy": 0.5,
    "tokens_per_second": 31_234.5,
    "batch_hash": "ab",
}


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def screen(text: str) -> list[str]:
    """The lines that a terminal shows after `text`."""
    lines = [""]
    for piece in text.replace("\x1b[K", "").replace("\n", "\0\n").split("\n"):
        shown = piece.removesuffix("\0").split("\r")[-1]
        lines[-1] = shown
        if piece.endswith("\0"):
            lines.append("")
    return [line for line in lines if line]


def test_a_step_says_what_matters() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock=clock)
    progress.step(20, 2000, ROW)
    clock.now += 10
    progress.step(40, 2000, ROW)
    first, second = stream.getvalue().splitlines()
    assert first == "step 20/2,000  loss 6.543  MLM 12.3%  NSP 50.0%  31.2k tok/s"
    assert second == first.replace("20/2,000", "40/2,000  16:20 left")
    assert len(second) <= 79


@pytest.mark.parametrize(
    ("rate", "said"), [(950.4, "950 tok/s"), (1e3, "1.0k tok/s"), (1.25e6, "1.25M tok/s")]
)
def test_rates(rate: float, said: str) -> None:
    stream = io.StringIO()
    Progress(stream).step(1, 2, {"tokens_per_second": rate})
    assert said in stream.getvalue()


@pytest.mark.parametrize(
    ("pace", "said"),
    [(0.42, "0:42"), (7.25, "12:05"), (112.35, "3:07:15"), (1908.0, "2 d 5 h")],
)
def test_time_left(pace: float, said: str) -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock=clock)
    progress.step(0, 101, {})
    clock.now += pace
    progress.step(1, 101, {})
    assert stream.getvalue().splitlines()[-1].endswith(f"  {said} left")


def test_on_a_terminal_one_line_is_renewed() -> None:
    stream = Terminal()
    clock = Clock()
    with Progress(stream, clock=clock) as progress:
        for step in (20, 40, 60):
            progress.step(step, 100, {"loss": 1.0})
        clock.now += 4
        progress.line("step 60: evaluation")
        progress.step(80, 100, {"loss": 1.0})
    assert stream.getvalue().endswith("\n")
    assert screen(stream.getvalue()) == [
        "step 60: evaluation",
        "step 80/100  0:01 left  loss 1.000",
    ]


def test_a_narrow_terminal_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "_width", lambda self: 30)
    stream = Terminal()
    Progress(stream).step(20, 2000, ROW)
    assert len(screen(stream.getvalue())[0]) == 29


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    Progress(stream).step(20, 2000, ROW)
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_bars_follow_one_another_on_a_terminal() -> None:
    stream, clock = Terminal(), Clock()
    with Progress(stream, clock=clock) as progress:
        for done in (0, 50, 100):
            clock.now += 1
            progress.bar("reading", done, 100)
        progress.bar("counting", 7, 0)
        progress.line("compiling")
        progress.step(1, 10, {})
    reading, counting, compiling, step = screen(stream.getvalue())
    assert reading == "reading  [########################] 100%  100/100  0:02"
    assert (counting, compiling, step) == ("counting  7", "compiling", "step 1/10")


def test_a_bar_says_the_time_left() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock=clock)
    progress.bar("reading", 0, 100)
    clock.now += 10
    progress.bar("reading", 25, 100)
    assert screen(stream.getvalue())[-1].endswith("25/100  0:30 left")


def test_a_log_gets_few_lines_of_a_bar() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock=clock)
    for done in range(1001):
        clock.now += 0.05
        progress.bar("reading", done, 1000)
    lines = stream.getvalue().splitlines()
    assert 3 <= len(lines) <= 2 + 50 / progress_module.LOG_SECONDS
    assert lines[-1].endswith("1,000/1,000  0:50")


def test_a_real_terminal() -> None:
    primary, secondary = pty.openpty()
    with os.fdopen(secondary, "w") as stream:
        progress = Progress(stream)
        progress.step(20, 2000, ROW)
        progress.step(40, 2000, ROW)
        progress.close()
        text = ""
        while "\n" not in text:
            text += os.read(primary, 10_000).decode()
    os.close(primary)
    assert text.count("\r") == 3  # two renewals and the terminal's own at the end
    assert "40/2,000" in screen(text.replace("\r\n", "\n"))[-1]
