"""What a check has found: one figure, whether it is in order, and what to do if not.

Checks live where the knowledge lives and give findings; the command line shows them.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

_LONGEST = 300  # characters of an error of a library


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was looked at, in a word or two.
        ok: False where something is broken or will not give what it should.
        figure: what was found, in one line.
        mend: what to do, in one line, with the field of the configuration; empty where
            nothing is to be done. With `ok`, it is advice.
    """

    check: str
    ok: bool
    figure: str
    mend: str = ""

    def __post_init__(self) -> None:
        assert "\n" not in self.figure + self.mend, "a finding is one line"
        assert self.ok or self.mend, "a failed check says what to do"

    @property
    def state(self) -> Literal["ok", "note", "FAIL"]:
        """FAIL, or ok, or note: in order, with advice."""
        return "FAIL" if not self.ok else "note" if self.mend else "ok"

    @classmethod
    def of_error(cls, check: str, error: Exception, mend: str) -> Finding:
        """The failed check that an error of ours or of a library tells of.

        Args:
            check: what was looked at.
            error: in a ValueError the remedy follows the last semicolon.
            mend: what to do where the error names no remedy.
        """
        text = " ".join(str(error).split()) or type(error).__name__
        figure, semicolon, remedy = text.rpartition("; ")
        if isinstance(error, ValueError) and semicolon:
            return cls(check, False, figure, remedy)
        cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        return cls(check, False, cut, mend)
