"""The versions that are installed, held to those that this package declares."""

from __future__ import annotations

import importlib.metadata
import platform

from packaging.requirements import Requirement

from bert_jax.findings import Finding

PACKAGE = "bert_jax"
SHOWN = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
)


def check_versions() -> Finding:
    """Versions of Python and of the libraries that decide most; all bounds are compared."""
    shown = [f"python {platform.python_version()}"]
    shown += [f"{name} {_version(name) or 'absent'}" for name in SHOWN]
    figure = ", ".join(shown)
    try:
        declared = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        mend = "pip install -e . so that bounds can be compared"
        return Finding("versions", True, f"{figure}; {PACKAGE} is not installed", mend)
    wrong = unmet(declared)
    if wrong:
        asked = " ".join(f"'{item}'" for item, _ in wrong)
        found = ", ".join(f"{item} ({version})" for item, version in wrong)
        return Finding(
            "versions", False, f"{figure}; not met: {found}", f"pip install {asked}"
        )
    return Finding("versions", True, figure)


def unmet(requirements: list[str]) -> list[tuple[str, str]]:
    """Requirements that the installed versions do not meet, with what is there.

    Args:
        requirements: as in the metadata of a package; those of extras are left out.
    """
    wrong = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(
                (f"{requirement.name}{requirement.specifier}", version or "absent")
            )
    return wrong


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
