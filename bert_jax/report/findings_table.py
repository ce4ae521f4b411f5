"""Findings as lines for a terminal and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_jax.findings import Finding

CHECK_WIDTH = 20


def finding_line(finding: Finding) -> str:
    """One line: ok, note or FAIL; what was looked at; what was found; what to do."""
    told = f" -> {finding.mend}" if finding.mend else ""
    return f"{finding.state:<4}  {finding.check:<{CHECK_WIDTH}}  {finding.figure}{told}"


def summary_line(findings: Sequence[Finding]) -> str:
    """How many checks are in order, have advice, and have failed."""
    count = {state: 0 for state in ("ok", "note", "FAIL")}
    for finding in findings:
        count[finding.state] += 1
    return f"{count['ok']} ok, {count['note']} with a note, {count['FAIL']} failed"


def plain_findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as JSON has them."""
    return [
        {
            "check": finding.check,
            "state": finding.state,
            "figure": finding.figure,
            "mend": finding.mend,
        }
        for finding in findings
    ]
