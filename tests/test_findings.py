"""A finding is one line, and one that failed says what to do."""

from __future__ import annotations

import pytest

from bert_jax.findings import Finding


def test_states() -> None:
    assert Finding("a", True, "1").state == "ok"
    assert Finding("a", True, "1", "do").state == "note"
    assert Finding("a", False, "1", "do").state == "FAIL"


@pytest.mark.parametrize(
    "fields", [(False, "1", ""), (True, "1\n2", ""), (True, "1", "\n")]
)
def test_what_is_no_finding(fields: tuple[bool, str, str]) -> None:
    with pytest.raises(AssertionError):
        Finding("a", *fields)


@pytest.mark.parametrize(
    ("error", "figure", "mend"),
    [
        (ValueError("x=1 must be 2; set it; or not"), "x=1 must be 2; set it", "or not"),
        (ValueError("bad\n  thing"), "bad thing", "mend it"),
        (RuntimeError("a; b"), "a; b", "mend it"),
        (RuntimeError("x" * 1000), "x" * 300 + "…", "mend it"),
        (KeyError(), "KeyError", "mend it"),
    ],
)
def test_errors_as_findings(error: Exception, figure: str, mend: str) -> None:
    finding = Finding.of_error("a", error, "mend it")
    assert (finding.ok, finding.figure, finding.mend) == (False, figure, mend)
