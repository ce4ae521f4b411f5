"""Hostile documents become ids in little memory, and nothing of them is lost."""

from __future__ import annotations

import json

import pytest

# In another process, since what is measured is the most that a process ever used.
SCRIPT = """
import json, re, sys
from pathlib import Path
from bert_jax.corpora.documents import Document
from bert_jax.data.ranges import encode_documents
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.wordpiece import WordPieceTokenizer

def peak():
    # Not ru_maxrss: a child begins with that of the process that started it.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024

tokenizer = WordPieceTokenizer((*CONTROL_TOKENS, "word", "and", ".", "漢"))
unit, times = json.loads(sys.argv[1])
encode_documents([Document("0", "", "word")], tokenizer, "en")
before = peak()
[(ids, lengths)] = encode_documents([Document("1", "", unit * times)], tokenizer, "en")
print(json.dumps([len(ids), int(lengths.sum()), peak() - before]))
"""


@pytest.mark.parametrize(
    ("unit", "times", "num_ids"),
    [
        ("word and ", 1_100_000, 2_200_000),
        ("x", 1_000_000, None),
        ("é", 1_000_000, None),
        ("漢", 1_000_000, 1_000_000),
        (".", 1_000_000, 1_000_000),
        ("a\u0301\u200d😀", 250_000, None),
    ],
    ids=["ten-megabyte-line", "letters", "accented", "ideographs", "stops", "marks"],
)
def test_hostile_documents_take_little_memory(run_python, unit, times, num_ids):
    process = run_python("-c", SCRIPT, json.dumps([unit, times]))
    assert process.returncode == 0, process.stderr
    found, in_sentences, grown = json.loads(process.stdout)
    assert found == in_sentences > 0
    assert num_ids in (None, found)
    assert grown < 300_000_000
