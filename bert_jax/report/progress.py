"""What a run shows while it runs: one line that renews itself, or plain lines in a log.

Everything goes to standard error: standard output is for results.
"""

from __future__ import annotations

import collections
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

TERMINAL_SECONDS = 0.1  # between two renewals of the line
LOG_SECONDS = 10.0  # between two lines of one bar where there is no terminal
BAR_CHARACTERS = 24
RATE_WINDOW = 20  # calls that the rate of steps is taken over


class Progress:
    """Shows steps and bars; permanent lines go through `line`.

    On a terminal the newest state is one line, renewed in place. Elsewhere each logged
    step is a line, and a bar is one line now and then.
    """

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ):
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._open_line = ""
        self._bar = ""
        self._bar_start = self._bar_shown = 0.0
        self._bar_first = 0
        self._marks: collections.deque[tuple[float, int]] = collections.deque(
            maxlen=RATE_WINDOW
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._bar:
            self._finish_line()
        elif self._open_line:
            self._write("\r\x1b[K")
        self._write(text + "\n")
        if self._open_line:
            self._write(self._open_line)

    def step(self, step: int, num_steps: int, metrics: Mapping[str, object]) -> None:
        """Shows where training stands.

        Args:
            step: updates done.
            num_steps: updates of the whole run.
            metrics: a row of metrics; shown are `loss`, each `…_accuracy` (a share) and
                `tokens_per_second`.
        """
        if self._bar:
            self._finish_line()
            self._bar = ""
        self._marks.append((self._clock(), step))
        parts = [f"step {step:,}/{num_steps:,}"]
        (first_time, first_step), (last_time, last_step) = self._marks[0], self._marks[-1]
        if last_step > first_step:
            # Early in the line: a narrow terminal cuts its end off.
            pace = (last_time - first_time) / (last_step - first_step)
            parts.append(f"{_duration(pace * (num_steps - step))} left")
        for name, value in metrics.items():
            if not isinstance(value, int | float):
                continue
            if name == "loss":
                parts.append(f"loss {value:.3f}")
            elif name.endswith("_accuracy"):
                parts.append(f"{name.removesuffix('_accuracy').upper()} {value:.1%}")
            elif name == "tokens_per_second":
                parts.append(f"{_thousands(value)} tok/s")
        self._show("  ".join(parts), stays=not self._is_terminal)

    def bar(self, label: str, done: int, total: int) -> None:
        """Shows that `done` of `total` units of the work called `label` are done.

        A bar whose total is 0 shows the count alone: its end is not known.
        """
        now = self._clock()
        if label != self._bar:
            self._finish_line()
            self._bar, self._bar_start, self._bar_first = label, now, done
            self._bar_shown = float("-inf")
        is_end = total > 0 and done >= total
        pause = TERMINAL_SECONDS if self._is_terminal else LOG_SECONDS
        if not is_end and now - self._bar_shown < pause:
            return
        self._bar_shown = now
        self._show(self._bar_text(label, done, total, now), stays=not self._is_terminal)
        if is_end:
            self._finish_line()
            self._bar = ""

    def close(self) -> None:
        """Leaves the newest state on the screen and the cursor on a line of its own."""
        self._finish_line()

    def _bar_text(self, label: str, done: int, total: int, now: float) -> str:
        if total <= 0:
            return f"{label}  {done:,}"
        share = min(1.0, done / total)
        full = int(share * BAR_CHARACTERS)
        text = f"{label}  [{'#' * full}{'.' * (BAR_CHARACTERS - full)}] {share:4.0%}"
        text += f"  {done:,}/{total:,}"
        seconds = now - self._bar_start
        if done >= total:
            return f"{text}  {_duration(seconds)}"
        if done > self._bar_first and seconds > 1.0:
            left = seconds / (done - self._bar_first) * (total - done)
            return f"{text}  {_duration(left)} left"
        return text

    def _show(self, text: str, *, stays: bool) -> None:
        if stays:
            self._write(text + "\n")
            return
        text = text[: self._width() - 1]
        self._write(f"\r{text}\x1b[K")
        self._open_line = text

    def _finish_line(self) -> None:
        if self._open_line:
            self._write("\n")
            self._open_line = ""

    def _width(self) -> int:
        """Columns of the terminal; 80 where it does not say."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _thousands(value: float) -> str:
    """A rate in three digits or so: 950, 31.2k, 1.25M."""
    for size, letter, digits in ((1e6, "M", 2), (1e3, "k", 1)):
        if value >= size:
            return f"{value / size:.{digits}f}{letter}"
    return f"{value:.0f}"


def _duration(seconds: float) -> str:
    """0:42, 12:05, 3:07:15 or 2 d 5 h."""
    whole = max(0, round(seconds))
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
