"""`bert-jax doctor`: the checks of data, run, devices and report put together.

Everything that needs no JAX comes first.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bert_jax.findings import Finding
from bert_jax.preflight import check_inputs, check_is_run

if TYPE_CHECKING:
    from bert_jax.config import Config

FAILED, OK = 1, 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workdir", nargs="?", type=pathlib.Path, help="folder of a run, to check that, too"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare every file of the data with its hash"
    )
    parser.add_argument(
        "--picture",
        type=pathlib.Path,
        metavar="FILE.png",
        help="draw lengths and how rows are filled (extra report)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, no table")


def run(args: argparse.Namespace, config: Config | None) -> int:
    """Shows each finding when it is there; exit code 1 if one has failed."""
    from bert_jax.report.data_picture import check_picture, draw_data
    from bert_jax.report.findings_table import finding_line, plain_findings, summary_line

    if args.picture is not None:
        check_picture(args.picture)
        if config is None and args.workdir is None:
            raise ValueError("--picture is of data: give a workdir or --config")
    if args.workdir is not None:
        check_is_run(args.workdir)
    distributions: dict[str, Any] = {}
    findings = []
    for finding in _examine(args, config, distributions):
        findings.append(finding)
        if not args.json:
            print(finding_line(finding), flush=True)
    if distributions and args.picture is not None:
        draw_data(distributions, args.picture)
    failed = any(not finding.ok for finding in findings)
    if args.json:
        rows = plain_findings(findings)
        print(json.dumps({"ok": not failed, "findings": rows, "data": distributions}))
    else:
        print(summary_line(findings))
    return FAILED if failed else OK


def _examine(
    args: argparse.Namespace, config: Config | None, distributions: dict[str, Any]
) -> Iterator[Finding]:
    """All findings: machine, configuration, data, devices, run."""
    from bert_jax.data.checks import check_cache
    from bert_jax.report.versions import check_versions

    yield check_versions()
    yield check_cache()
    if args.workdir is not None:
        config, finding = _config_of_run(args.workdir, config)
        yield finding
    if config is not None:
        yield from _examine_data(args, config, distributions)
    yield from _examine_devices(config)
    if args.workdir is not None and config is not None:
        from bert_jax.train.checks import check_run

        yield from check_run(args.workdir, config)


def _config_of_run(
    workdir: pathlib.Path, given: Config | None
) -> tuple[Config | None, Finding]:
    """The configuration of a run, and whether the given one is the same."""
    from bert_jax.config import Config

    path = workdir / "config.json"
    try:
        own = Config.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        mend = f"put back {path}: each checkpoint has a copy of it in its record"
        return given, Finding.of_error("config.json", error, mend)
    if given is not None:
        from bert_jax.train.workdir import check_workdir

        try:
            own = check_workdir(workdir, given)
        except ValueError as error:
            return own, Finding.of_error("config.json", error, "use a new workdir")
    return own, Finding("config.json", True, f"{path} can be read")


def _examine_data(
    args: argparse.Namespace, config: Config, distributions: dict[str, Any]
) -> Iterator[Finding]:
    from bert_jax.data.checks import check_data, is_prepared
    from bert_jax.data.prepare import data_directory

    if config.init_from and args.workdir is None:
        from bert_jax.train.adoption import adopt

        config = adopt(config)
    if not config.data.directory:
        check_inputs(config)
    directory = data_directory(config)
    if is_prepared(directory):
        yield from check_data(config, directory, distributions, verify_hashes=args.verify)
    elif args.workdir is not None:
        mend = "run bert-jax prepare with --config of the run's config.json"
        yield Finding("data", False, f"{directory} holds no prepared data", mend)
    else:
        mend = "run bert-jax prepare with this --config"
        yield Finding("data", True, f"not prepared yet; will be in {directory}", mend)


def _examine_devices(config: Config | None) -> Iterator[Finding]:
    try:
        from bert_jax.parallel import checks
    except (ImportError, RuntimeError) as error:  # of JAX: its parts do not fit
        mend = "install jax and jaxlib of one version: pip install -U bert_jax"
        yield Finding.of_error("devices", error, mend)
        return
    dtype = "float32" if config is None else config.train.dtype
    found = checks.check_devices(dtype)
    yield from found
    if config is not None and found[0].ok:
        yield checks.check_mesh(config)
