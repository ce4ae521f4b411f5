"""What the verbs that use a trained model do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bert_jax.config import Config
    from bert_jax.tasks.fill_mask import Prediction

OK = 0
_MODEL = "folder with a model, workdir of a run, or name on the Hugging Face Hub"


def add_fill_mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=_MODEL)
    parser.add_argument("text", nargs="+", help="text with [MASK] in it")
    parser.add_argument(
        "--top-k",
        type=_positive,
        default=5,
        help="tokens to show (5), at most all of the vocabulary",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per text")


def run_fill_mask(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.tasks.fill_mask import fill_mask

    answers = fill_mask(args.model, args.text, args.top_k)
    if not args.json:
        tell_predictions(zip(args.text, answers, strict=True))
        return OK
    for text, predictions in zip(args.text, answers, strict=True):
        rows = [dataclasses.asdict(item) for item in predictions]
        print(json.dumps({"text": text, "predictions": rows}, ensure_ascii=False))
    return OK


def tell_predictions(answers: Iterable[tuple[str, list[Prediction]]]) -> None:
    """Each text with what could stand in its [MASK]."""
    for text, predictions in answers:
        print(text)
        for item in predictions:
            print(f"  {item.probability:6.1%}  {item.token:<16}  {item.text}")


def add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=_MODEL)
    parser.add_argument("destination", type=pathlib.Path, help="folder to write")
    parser.add_argument(
        "--to",
        choices=("hf", "stablehlo"),
        default="hf",
        help="hf: a folder that Transformers loads, too (default); stablehlo: one artifact "
        "that runs with JAX alone",
    )
    parser.add_argument(
        "--architecture", help="class of the model, where the source does not say it"
    )


def run_convert(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.tasks.convert import convert

    name = convert(args.source, args.destination, args.to, args.architecture)
    print(f"{name} in {args.destination}, loaded again and compared")
    return OK


def _add_texts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=_MODEL)
    parser.add_argument("text", nargs="*", help="texts; or --input, or standard input")
    parser.add_argument(
        "--input",
        type=pathlib.Path,
        help="file with one text a line, answered line by line, "
        "empty ones too; - for standard input",
    )


def _texts(args: argparse.Namespace) -> list[str]:
    """The texts that a verb was given.

    Raises:
        ValueError: there are none, or from two places.
    """
    if args.text and args.input is not None:
        raise ValueError("give texts or --input, not both")
    texts = list(args.text)
    if not texts:
        if args.input is None and sys.stdin.isatty():
            raise ValueError("there is no text; give some, or --input=FILE")
        from_file = args.input is not None and str(args.input) != "-"
        if from_file and (not args.input.exists() or args.input.is_dir()):
            raise ValueError(f"--input={args.input} must be a file, one text a line")
        content = args.input.read_bytes() if from_file else sys.stdin.buffer.read()
        try:
            texts = content.decode("utf-8-sig").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"the input must be UTF-8; byte {error.start} of it is "
                f"0x{content[error.start]:02x}"
            ) from None
        texts = [line.removesuffix("\r") for line in texts]  # of Windows
    if not any(text.strip() for text in texts):
        raise ValueError("the input has no text; it must have one a line")
    return texts


def add_embed(parser: argparse.ArgumentParser) -> None:
    _add_texts(parser)
    parser.add_argument(
        "--output", type=pathlib.Path, help="write float32[texts, hidden] to a .npy file"
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls"),
        help="mean of the tokens, or [CLS]; by default what the model's folder says, else "
        "mean",
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="vectors of length 1; by default what the model's folder says, else not",
    )


def run_embed(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.tasks.embed import embed, save_vectors

    if args.output is not None and args.output.suffix != ".npy":
        raise ValueError(f"--output={args.output} must end in .npy")
    if args.output is not None and not args.output.parent.is_dir():
        raise ValueError(f"--output={args.output}: its folder is not there; make it")
    texts = _texts(args)
    vectors = embed(args.model, texts, pooling=args.pooling, normalize=args.normalize)
    if args.output is not None:
        save_vectors(args.output, vectors)
        print(f"{vectors.shape[0]} vectors of {vectors.shape[1]} numbers in {args.output}")
        return OK
    for text, vector in zip(texts, vectors.tolist(), strict=True):
        print(json.dumps({"text": text, "vector": vector}, ensure_ascii=False))
    return OK


def add_predict(parser: argparse.ArgumentParser) -> None:
    _add_texts(parser)


def run_predict(args: argparse.Namespace, config: Config | None) -> int:
    from bert_jax.tasks.predict import predict

    texts = _texts(args)
    for text, answer in zip(texts, predict(args.model, texts), strict=True):
        print(json.dumps({"text": text, **answer}, ensure_ascii=False))
    return OK


def _positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least 1")
    return int(text)
