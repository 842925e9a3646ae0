"""Published perplexities, against which a baseline is checked: `configs/anchors.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

UNQUANTIZED = "unquantized"
# papers differ by up to 0.3 % on one model (OPT-125m: 27.64 to 27.66, Llama-2-7B: 5.47 and 5.474), types by more
RELATIVE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Anchor:
    """A value as published, for a whole WikiText-2 test set in a convention."""

    model: str
    method: str
    convention: Literal["papers", "llama.cpp"]
    window_tokens: int
    value: float
    source: str


def read_anchors(file: Path) -> tuple[Anchor, ...]:
    """All entries of the table. Raises ValueError naming the entry that is not one."""
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    anchors = []
    for number, entry in enumerate(raw, 1):
        try:
            anchors.append(Anchor(**entry))
        except TypeError as error:
            raise ValueError(f"{file}: entry {number} is not an anchor: {error}") from error
    return tuple(anchors)


def anchors_for(anchors: tuple[Anchor, ...], model: str, convention: str, window_tokens: int) -> list[Anchor]:
    """What was published of a model's unquantized weights in this convention."""
    wanted = (UNQUANTIZED, convention, window_tokens)
    return [
        anchor
        for anchor in anchors
        if (anchor.method, anchor.convention, anchor.window_tokens) == wanted
        # the hub id, or a folder that is called as the last part of it
        and model.lower() in (anchor.model.lower(), anchor.model.lower().rsplit("/", maxsplit=1)[-1])
    ]
