"""The sections of a configuration: every field with its default, meaning and range."""

from __future__ import annotations

import dataclasses

from bert_jax.bert_config import ACTIVATIONS, MODEL_SIZES
from bert_jax.strict_fields import field as _field

_NOT_EMPTY = (r".+", "a name")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What to build. A field left at None takes the value that `name` stands for."""

    name: str = _field("base", "size of the model", choices=tuple(MODEL_SIZES))
    hidden_size: int | None = _field(None, "units of the residual stream", low=1)
    num_hidden_layers: int | None = _field(None, "transformer layers", low=1)
    num_attention_heads: int | None = _field(None, "heads of each layer", low=1)
    intermediate_size: int | None = _field(None, "units of the feed-forward layer", low=1)
    max_position_embeddings: int = _field(512, "longest sequence the model can take", low=8)
    hidden_act: str = _field(
        "gelu",
        "activation: gelu is the erf form, gelu_tanh that of the 2018 code",
        choices=ACTIVATIONS,
    )
    initializer_range: float = _field(
        0.02, "spread of the initial weights", above=0.0, high=1.0
    )
    layer_norm_eps: float = _field(1e-12, "epsilon of LayerNorm", low=1e-30, below=1.0)


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One source of text."""

    name: str = _field(
        "",
        "installed_docs, text_files, books_corpus (your own books: the BooksCorpus of the "
        "paper is no longer distributed, its open substitute is pg19 of TFDS), or a TFDS "
        "dataset such as pg19, c4 or wikipedia/20230601.en",
    )
    split: str = _field("train", "split of the dataset to train on", pattern=_NOT_EMPTY)
    feature: str = _field(
        "text",
        "feature of the dataset that holds the text; if there is none of that name, the "
        "only one that ends with it, as book_text of pg19",
        pattern=_NOT_EMPTY,
    )
    path: str = _field(
        "",
        "for text_files: a glob of files, such as /texts/**/*.txt; for books_corpus: a "
        "folder or an archive (.tar, .tar.gz, .tgz, .tar.zst, .zip) of .txt files, each a "
        "book",
    )
    documents: str = _field(
        "auto",
        "for text_files, where plain text is cut into documents: at blank_lines; not at "
        "all, each file is one; auto: at blank lines if each line is a sentence or each "
        "block one line, else (wrapped paragraphs, books) each file is one",
        choices=("auto", "blank_lines", "file"),
    )
    clean: str = _field(
        "auto",
        "what to take out of documents: plain: control characters, lines of one repeated "
        "character; wikipedia: that, left-over markup and pages without text; gutenberg: "
        "plain, licences and production notes; none: nothing; auto: wikipedia for TFDS's "
        "wikipedia and for text_files of wikiextractor (more than half of the files begin "
        "with <doc), gutenberg for books_corpus and pg19, none for installed_docs, plain "
        "for all others",
        choices=("auto", "none", "plain", "wikipedia", "gutenberg"),
    )
    weight: float | None = _field(
        None,
        "share of the rows of training that come from this source, relative to the weights "
        "of the others; all sources have one, or none has: then each gives in proportion "
        "to its text",
        above=0.0,
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Text in, batches out."""

    sources: tuple[SourceConfig, ...] = _field(
        (SourceConfig("installed_docs"),),
        "list of sources {name, split, feature, path, documents, clean, weight}; a bare "
        "name is one, too",
    )
    download: bool = _field(
        False,
        "download and build the TFDS datasets among the sources that are not on disk as "
        "ArrayRecord (Wikipedia needs the extra beam, and for a large one a cluster)",
    )
    directory: str = _field(
        "", "where prepared data lie; empty: a folder of the cache named after the config"
    )
    eval_fraction: float = _field(
        0.02,
        "share of titles held out, for sources without a validation split",
        above=0.0,
        high=0.5,
    )
    language: str = _field(
        "en",
        "language of the text, for the sentence splitter",
        pattern=(r"[a-z]{2,3}(-[a-z]+)*", "a language code such as en"),
    )
    encoding_errors: str = _field(
        "replace",
        "bytes that are not UTF-8: replace and count them, or refuse the file",
        choices=("replace", "refuse"),
    )
    drop_duplicates: bool = _field(
        True, "leave out documents whose text, white space apart, stands in an earlier one"
    )
    near_duplicates: str = _field(
        "keep",
        "training documents that are nearly an earlier one (most of their stretches of "
        "eight tokens): keep them, or drop them (extra dedup)",
        choices=("keep", "drop"),
    )
    decontaminate: tuple[str, ...] = _field(
        (),
        "list of globs of evaluation files (txt, tsv, csv, jsonl, json); documents that "
        "share 13 tokens in a row with any text in them are left out",
    )
    sequence_length: int = _field(128, "tokens in a row, [CLS] and [SEP] included", low=8)
    max_predictions_per_sequence: int = _field(20, "most masked tokens in a row", low=1)
    short_sequence_rate: float = _field(
        0.1, "share of examples made shorter on purpose (2018 recipe)", low=0.0, high=1.0
    )
    packing: int = _field(
        1,
        "most sequences in a row: 1 pads each to the full length; more put several into "
        "one row, each seeing itself alone",
        low=1,
        high=255,
    )
    seed: int = _field(0, "seed of pairs and of their order", low=0, high=2**31 - 1)
    num_workers: int = _field(
        0, "processes that make batches; 0: a thread, which is enough for most", low=0
    )
    stall_seconds: float = _field(
        600.0, "longest wait for a batch, after which the run ends", above=0.0
    )


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """How words become ids."""

    kind: str = _field(
        "wordpiece", "kind of vocabulary", choices=("wordpiece", "sentencepiece")
    )
    vocab_size: int = _field(30522, "entries of a vocabulary to train", low=64, high=2**21)
    path: str = _field("", "use this tokenizer (folder or vocab.txt) and train none")
    lowercase: bool = _field(True, "fold case")
    strip_accents: bool = _field(True, "drop accents (only when lowercase)")


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """What the model learns to predict."""

    sentence_task: str = _field(
        "nsp",
        "what is asked of two segments; nsp: is B the next (2018)? sop: in which order do "
        "they stand (ALBERT)? none: rows have one segment of whole sentences (RoBERTa)",
        choices=("nsp", "sop", "none"),
    )
    masking: str = _field(
        "token",
        "what is masked together: single tokens (as the paper); whole words (2018's whole "
        "word masking); spans of words (SpanBERT)",
        choices=("token", "whole_word", "span"),
    )
    mask_rate: float = _field(0.15, "share of tokens to predict", above=0.0, below=1.0)
    final_mask_rate: float | None = _field(
        None,
        "share of tokens to predict at the end of the run, which mask_rate moves to in 16 "
        "equal stages; None: mask_rate throughout",
        above=0.0,
        below=1.0,
    )


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its learning rate."""

    name: str = _field(
        "bert_adamw",
        "bert_adamw: the 2018 optimizer, no bias correction; adamw: bias-corrected; muon: "
        "orthogonalized momentum for the matrices of the layers, adamw for the rest",
        choices=("bert_adamw", "adamw", "muon"),
    )
    learning_rate: float = _field(1e-4, "peak learning rate", above=0.0, high=10.0)
    warmup_steps: int = _field(10_000, "steps of linear warm-up", low=0)
    weight_decay: float = _field(0.01, "decoupled weight decay", low=0.0)
    clip_norm: float = _field(1.0, "largest global norm of the gradient", above=0.0)
    beta1: float = _field(0.9, "decay of the first moment", low=0.0, below=1.0)
    beta2: float = _field(0.999, "decay of the second moment", low=0.0, below=1.0)
    epsilon: float = _field(
        1e-6, "added to the root of the second moment", low=1e-30, below=1.0
    )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices are arranged; −1 on one axis takes all devices that are left.

    The sizes count all devices. Slices (of TPUs, or GPU machines) are joined by a network
    slower than their own; `dcn_data` x `dcn_fsdp` is their number.
    """

    data: int = _field(-1, "copies of the model, each with its part of the batch", low=-1)
    fsdp: int = _field(1, "parts of each parameter, gathered where it is used", low=-1)
    tensor: int = _field(1, "parts of each layer's heads and feed-forward units", low=-1)
    sequence: int = _field(1, "parts of each row's tokens; keys are gathered", low=-1)
    dcn_data: int = _field(1, "slices that mesh.data is spread over", low=1)
    dcn_fsdp: int = _field(1, "slices that mesh.fsdp is spread over", low=1)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The run itself."""

    num_steps: int = _field(1_000_000, "updates in the whole run", low=1, high=2**31 - 1)
    global_batch_size: int = _field(256, "rows in a batch, over all devices", low=1)
    micro_batch_size: int | None = _field(
        None,
        "rows that a device computes at once; a batch of more is computed in turns and "
        "gives the same update; None: all of its rows",
        low=1,
    )
    start: str = _field(
        "random",
        "weights to begin with; random: as in 2018; informed: scores of words begin at "
        "their frequency and attention on neighbours, which spares a short run a plateau",
        choices=("random", "informed"),
    )
    seed: int = _field(0, "seed of weights, masks and dropout", low=0, high=2**31 - 1)
    dtype: str = _field(
        "float32",
        "numbers the model computes in; parameters are always float32",
        choices=("float32", "bfloat16"),
    )
    gradient_dtype: str = _field(
        "float32",
        "numbers in which gradients travel over mesh.data and are added up there",
        choices=("float32", "bfloat16"),
    )
    remat: str = _field(
        "none",
        "what is computed again in the backward pass to spare memory; none: nothing; dots: "
        "all but the products with weights; full: all inside a layer",
        choices=("none", "dots", "full"),
    )
    scan_layers: str = _field(
        "auto",
        "scan: one compiled layer in a loop; unroll: every layer compiled, which takes "
        "longer; auto: unroll on CPUs, where it runs faster, and scan elsewhere",
        choices=("auto", "scan", "unroll"),
    )
    dropout_rate: float = _field(0.1, "dropout everywhere in the model", low=0.0, below=1.0)
    log_every_steps: int = _field(100, "steps between two logged rows", low=1)
    eval_every_steps: int = _field(10_000, "steps between two evaluations", low=1)
    eval_batches: int = _field(32, "held-out batches of one evaluation", low=1)
    save_every_steps: int = _field(10_000, "steps between two checkpoints", low=1)
    keep_checkpoints: int = _field(3, "newest checkpoints to keep", low=1)
