"""Findings on a terminal and as JSON."""

from __future__ import annotations

from bert_jax.findings import Finding
from bert_jax.report.findings_table import finding_line, plain_findings, summary_line

FINDINGS = [
    Finding("files", True, "3 of them"),
    Finding("padding", True, "40 %", "set data.packing=16"),
    Finding("special ids", False, "none", "prepare again"),
]


def test_lines_stand_in_columns() -> None:
    lines = [finding_line(finding) for finding in FINDINGS]
    assert [line[:4] for line in lines] == ["ok  ", "note", "FAIL"]
    places = [line.index(f.figure) for line, f in zip(lines, FINDINGS, strict=True)]
    assert len(set(places)) == 1
    assert lines[0].endswith("3 of them")
    assert lines[1].endswith("40 % -> set data.packing=16")
    assert summary_line(FINDINGS) == "1 ok, 1 with a note, 1 failed"


def test_plain_values() -> None:
    assert plain_findings(FINDINGS)[1] == {
        "check": "padding",
        "state": "note",
        "figure": "40 %",
        "mend": "set data.packing=16",
    }
