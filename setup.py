"""Build definition. Tool settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent


def version() -> str:
    """The version, written once: in bert_jax/__init__.py (read, not imported)."""
    text = (ROOT / "bert_jax" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert match, "bert_jax/__init__.py must hold __version__"
    return match.group(1)


def long_description() -> str:
    """The README; empty in a tree that has none yet."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


INSTALL_REQUIRES = [
    "absl-py>=2.1",
    "array_record>=0.8.6",
    "flatbuffers>=25.2",  # jax.export serializes with it and does not declare it
    "flax>=0.12.8,<0.13",
    "google-crc32c>=1.7",
    "grain>=0.2.18,<0.3",
    "importlib_resources>=6",  # tensorflow-datasets imports it and does not declare it
    "jax>=0.10,<0.13",
    "ml-collections>=1.1",
    "numpy>=2",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<1",
    "packaging>=24",
    "protobuf>=5",  # the messages of sentencepiece need it and do not declare it
    "safetensors>=0.8",
    "sentencepiece>=0.2.2",
    "sentencex>=1.0.32",
    "tensorboardX>=2.6.4",
    "tensorflow-datasets>=4.9.10",
    "tokenizers>=0.23",
    "zstandard>=0.23",
]

EXTRAS_REQUIRE = {
    # What `pytest` and `.ci/run` need; never PyTorch.
    "test": [
        "matplotlib>=3.10",
        "mypy>=2.4,<3",
        "pytest>=9,<10",
        "pytest-xdist>=3.8,<4",
        "rensa>=0.5,<0.6",
        "ruff>=0.17,<0.18",
    ],
    # Independent implementations that some tests compare with.
    "peers": ["torch==2.13.0", "transformers>=5,<6", "sentence-transformers>=5"],
    "tpu": ["jax[tpu]>=0.10,<0.13"],
    "cuda": ["jax[cuda13]>=0.10,<0.13"],
    # Preparing on Dataflow, Flink or Spark, and Wikipedia.
    # tensorflow-datasets[wikipedia] pins an old Beam: not used.
    "beam": ["apache-beam>=2.77", "mwparserfromhell>=0.6", "mwxml>=0.3"],
    # data.near_duplicates=drop: MinHash signatures.
    "dedup": ["rensa>=0.5,<0.6"],
    # Pictures of data, and looking at event files.
    "report": ["matplotlib>=3.10", "tensorboard>=2.20"],
    # Names of the Hugging Face Hub instead of local folders.
    "hub": ["huggingface-hub>=1"],
}

setup(
    name="bert_jax",
    version=version(),
    description="Pretrain, fine-tune and reuse BERT in JAX, on CPU, GPU and TPU",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    # configs/ stands at the top of the checkout and is installed as bert_jax.configs.
    packages=[*find_packages(include=["bert_jax", "bert_jax.*"]), "bert_jax.configs"],
    package_dir={"bert_jax.configs": "configs"},
    package_data={"bert_jax": ["py.typed"]},
    entry_points={"console_scripts": ["bert-jax = bert_jax.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
