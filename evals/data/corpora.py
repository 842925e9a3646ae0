"""Running text that is scored as it stands: WikiText-2, and the user's own prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from evals.api.tokenizers import added_ids
from evals.data.local_root import DataError, dataset_folder
from quant.canonical_json import read_regular

WIKITEXT = "wikitext2"
WIKITEXT_HUB_NAME = "Salesforce/wikitext"
WIKITEXT_CONFIG = "wikitext-2-raw-v1"


@dataclass(frozen=True)
class Prompts:
    """Texts of one source as token ids, each of at least two tokens. `sha256` is that of all ids."""

    name: str
    sha256: str
    ids: tuple[tuple[int, ...], ...]


def wikitext2_test(root: Path | None) -> str:
    r"""WikiText-2's test rows joined by "\n\n", as the papers' code does, from a root or the hub. Raises DataError."""
    return "\n\n".join(_rows(root))


def wikitext2_test_raw(root: Path | None) -> str:
    r"""The file wiki.test.raw, which llama.cpp reads: its empty lines are " \n", in the data set they are empty rows.

    Raises DataError.
    """
    return "".join(row or " \n" for row in _rows(root))


def _rows(root: Path | None) -> list[str]:
    if root is None:
        import datasets

        return list(datasets.load_dataset(WIKITEXT_HUB_NAME, WIKITEXT_CONFIG, split="test")["text"])
    import pyarrow.parquet as pq  # a third of a second that a plan's check has no use for

    return [row for file in wikitext_files(root) for row in pq.read_table(file)["text"].to_pylist()]


def wikitext_files(root: Path) -> list[Path]:
    """The files of a local root that hold WikiText-2's test rows. Raises DataError."""
    folder = dataset_folder(root, WIKITEXT_HUB_NAME)
    files = sorted((folder / WIKITEXT_CONFIG).glob("test-*.parquet"))
    if not files:
        raise DataError(f"{folder} has no {WIKITEXT_CONFIG}/test-*.parquet")
    return files


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def wikitext_prompts(tokenizer: Tokenizer, text: str, count: int, length: int, seed: int) -> Prompts:
    """`count` stretches of `length` tokens that do not overlap, drawn with `seed`. Raises DataError.

    Each begins with what the tokenizer puts before a text, in place of its own first tokens.
    """
    ids = tokenizer.encode(text).ids
    room = len(ids) // length
    if room < count:
        raise DataError(f"the text has {len(ids)} tokens, too few for {count} prompts of {length}")
    starts = sorted(int(i) * length for i in np.random.default_rng(seed).choice(room, count, replace=False))
    added = added_ids(tokenizer)
    return _prompts(WIKITEXT, [[*added, *ids[start + len(added) : start + length]] for start in starts])


def own_prompts(tokenizer: Tokenizer, file: Path, count: int, length: int, seed: int) -> Prompts:
    """`count` prompts of a JSONL file drawn with `seed` (all, where it has no more), cut to their last `length` tokens
    behind what the tokenizer puts before a text.

    Raises DataError.
    """
    lines = read_prompts(file)
    picks = np.random.default_rng(seed).choice(len(lines), min(count, len(lines)), replace=False)
    added = added_ids(tokenizer)
    encoded = [tokenizer.encode(lines[pick], add_special_tokens=False).ids for pick in sorted(map(int, picks))]
    ids = [[*added, *prompt[-max(length - len(added), 1) :]] for prompt in encoded]
    short = next((n for n, prompt in enumerate(ids) if len(prompt) < 2), None)
    if short is not None:
        raise DataError(f"{file}: a prompt has fewer than two tokens: {lines[sorted(map(int, picks))[short]]!r}")
    return _prompts(file.name, ids)


def read_prompts(file: Path) -> list[str]:
    """The `prompt` of each line of a JSONL file. Raises DataError naming file and line.

    Cut at line feeds alone: JSON's texts may hold U+2028 and others that `splitlines` cuts at.
    """
    try:
        lines = read_regular(file).decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    prompts = [_prompt(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise DataError(f"{file} has no prompts")
    return prompts


def _prompt(file: Path, number: int, line: str) -> str:
    try:
        prompt = json.loads(line)["prompt"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f'{file}:{number}: not a line of JSON with a "prompt"') from error
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"{file}:{number}: its prompt is not a text")
    return prompt


def _prompts(name: str, ids: Sequence[Sequence[int]]) -> Prompts:
    rows = tuple(tuple(prompt) for prompt in ids)
    return Prompts(name, hashlib.sha256(json.dumps(rows).encode()).hexdigest(), rows)
