"""The README.md of an exported model: what it is, where it comes from, how to load it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bert_jax.bert_config import BertConfig

# Class of the model -> what hubs call its use.
_PIPELINES = {
    "BertForPreTraining": "fill-mask",
    "BertForMaskedLM": "fill-mask",
    "BertForSequenceClassification": "text-classification",
    "BertForTokenClassification": "token-classification",
    "BertForQuestionAnswering": "question-answering",
}


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        summary: one sentence.
        data: one line for each source of its text.
        training: name -> value of what decided the training, as shown.
        results: name -> value of its metrics on held-out text.
        language: code of the language of the text; empty if unknown.
    """

    summary: str
    data: Sequence[str] = ()
    training: Mapping[str, str] = dataclasses.field(default_factory=dict)
    results: Mapping[str, float] = dataclasses.field(default_factory=dict)
    language: str = ""


def model_card(architecture: str, config: BertConfig, origin: Origin) -> str:
    """The text of README.md, with the metadata that model hubs read at its head.

    Args:
        architecture: name of the model's class.
        config: its architecture.
        origin: where it comes from.
    """
    parts = [
        _metadata(architecture, origin),
        f"# {architecture}\n\n{origin.summary}",
        _table(
            "Architecture",
            {
                "layers": str(config.num_hidden_layers),
                "hidden size": str(config.hidden_size),
                "attention heads": str(config.num_attention_heads),
                "vocabulary": f"{config.vocab_size:,}",
                "longest input": f"{config.max_position_embeddings} tokens",
            },
        ),
    ]
    if origin.data:
        parts.append("## Data\n\n" + "\n".join(f"- {line}" for line in origin.data))
    if origin.training:
        parts.append(_table("Training", origin.training))
    if origin.results:
        shown = {name: f"{value:.4f}" for name, value in origin.results.items()}
        parts.append(_table("Results on held-out text", shown))
    parts.append(_usage(architecture))
    return "\n\n".join(parts) + "\n"


def _metadata(architecture: str, origin: Origin) -> str:
    lines = ["library_name: transformers", "tags: [bert, bert_jax]"]
    if architecture in _PIPELINES:
        lines.append(f"pipeline_tag: {_PIPELINES[architecture]}")
    if origin.language:
        lines.append(f"language: {origin.language}")
    return "\n".join(["---", *lines, "---"])


def _table(title: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines])


def _usage(architecture: str) -> str:
    return f"""## Use

```python
from bert_jax import BertTokenizer, {architecture}
tokenizer = BertTokenizer.from_pretrained("this-folder")
model = {architecture}.from_pretrained("this-folder")
outputs = model(**tokenizer("An example.", return_tensors="np"))
```

The same folder loads in Transformers. `sha256sum -c SHA256SUMS` checks its files;
`probe.safetensors` holds a batch and what this model answers to it."""
