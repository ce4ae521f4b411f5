"""Installed versions are held to the declared bounds."""

from __future__ import annotations

import importlib.metadata

import pytest

from bert_jax.report.versions import check_versions, unmet


def test_what_is_installed_is_in_order() -> None:
    finding = check_versions()
    assert finding.ok, finding.mend
    assert f"jax {importlib.metadata.version('jax')}" in finding.figure


def test_unmet_bounds_are_named() -> None:
    numpy = importlib.metadata.version("numpy")
    asked = [
        "numpy>=2",
        "numpy<2",
        "no-such-thing>=1",
        "absent-too>=1; extra == 'test'",
        "absent-too>=1; python_version < '3'",
    ]
    assert unmet(asked) == [("numpy<2", numpy), ("no-such-thing>=1", "absent")]


def test_a_bound_that_is_not_met_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["numpy<2"])
    finding = check_versions()
    assert not finding.ok and "pip install 'numpy<2'" in finding.mend
