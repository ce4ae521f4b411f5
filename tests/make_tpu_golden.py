"""Records what the TPU compiler says of the shipped configurations.

    python tests/make_tpu_golden.py [CASE …]

Needs the extra `tpu`; compiles the named cases of `tpu_cases.py`, or all (about 20 minutes
on two cores), and writes `golden/tpu.json`. To be run again when libtpu changes, or when a
change is meant to alter memory or collectives; the difference belongs into the commit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tpu_cases import CASES, GOLDEN, figures, plan


def run_python(
    *arguments: str, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **env},
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> None:
    golden: dict[str, Any] = {"compiler": "", "cases": {}}
    if GOLDEN.exists():
        golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        found = plan(run_python, case.device, "--no-largest", *case.arguments)
        if golden["compiler"] != found["compiler"]:
            golden = {"compiler": found["compiler"], "cases": {}}
        seconds = round(found["compile_seconds"])  # here and now: not compared
        golden["cases"][name] = {**figures(found), "compile_seconds": seconds}
        print(f"{name}: {seconds} s {golden['cases'][name]}", flush=True)
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
