"""The tiny run, for tests of what stands on it."""

from tiny_run import tiny_config as tiny_config
from tiny_run import tiny_root as tiny_root
from tiny_run import tiny_workdir as tiny_workdir
