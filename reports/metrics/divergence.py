"""How close a checkpoint's predictions are to its baseline's, without any labels, beside what is only noise."""

from __future__ import annotations

import logging
import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from evals.schema.accuracy import Predictions
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from evals.stats.skewed_mean import skewed_mean
from quant import errors
from quant.canonical_json import read_regular
from quant.errors import BitfrontierError
from reports.metrics.cell import CellMetrics
from reports.metrics.engine_drift import first_baseline

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Kind = Literal["another run", "another engine", "quantization"]
MOST_DISTRIBUTIONS_BYTES = 2**31
WIDEST_BYTES = 2**20 * 8  # of one position: the largest vocabulary there is, and more
HEADER_BYTES = 2**16
LEAST_MASS = 1e-12  # what rounding leaves of a tail that holds nothing


class DamagedDistributions(BitfrontierError):
    """A file of distributions cannot be read, or belongs to other readings."""


@dataclass(frozen=True)
class Distributions:
    """Natural-log probabilities of (positions, tokens), with the tokens' `ids`; None where they are the vocabulary."""

    logprobs: Floats
    ids: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class Distance:
    """`name` (its trial's `key`) held against `reference` on the same prompts.

    `kl_nats`: mean Kullback–Leibler divergence of the next-token distributions, reference ‖ name, over prompts; its
    interval takes prompts for independent. `support` says over what: the whole vocabulary, or the most likely tokens
    that both tell with all others as one. That can only make it smaller: it is a lower bound, and its interval has no
    upper end. `same_top`: share of positions with the same most likely token. `shift_nats`: mean |Δ log-probability| of
    the text's own tokens. `first_difference`: median number of leading words of the greedy answers that are the same,
    `same_answers` how many are the same to the end. None: one of the two does not tell. `kl_by_position`: the
    divergence at the first, second, … position that was read of each prompt, mean over prompts.
    """

    kind: Kind
    key: str
    name: str
    reference: str
    text: str
    prompts: int
    kl_nats: Estimate | None
    support: str
    same_top: float | None
    shift_nats: float | None
    first_difference: float | None
    same_answers: int
    kl_by_position: tuple[float, ...] = ()


def distances(cells: Sequence[CellMetrics], folder: Path) -> list[Distance]:
    """Noise first: each baseline against itself in another run, then against the model's first baseline; then every
    quantized cell against its own baseline. `folder` holds the files of distributions.
    """
    divergences = [distance for cell in cells for distance in _of_cell(cell, cells, folder)]
    return sorted(
        divergences, key=lambda distance: ("another run", "another engine", "quantization").index(distance.kind)
    )


def largest_kl(divergences: Sequence[Distance]) -> dict[str, Estimate]:
    """By a quantized cell's key, its divergence on the text on which it is farthest from its baseline."""
    estimates = [
        (distance.key, distance.kl_nats)
        for distance in divergences
        if distance.kind == "quantization" and distance.kl_nats is not None
    ]
    return dict(sorted(estimates, key=lambda pair: pair[1].value))


def _of_cell(cell: CellMetrics, cells: Sequence[CellMetrics], folder: Path) -> Iterator[Distance]:
    trial, reference = cell.trial, cell.reference
    if reference is not None:
        yield from _all("quantization", trial, _first(trial), reference, _first(reference), folder)
    if not cell.is_baseline:
        return
    again = [reading for reading in trial.predictions if reading.repeat]
    yield from _all("another run", trial, again, trial, _first(trial), folder)
    first = first_baseline(cell, cells)
    if first is not trial:
        yield from _all("another engine", trial, _first(trial), first, _first(first), folder)


def _first(trial: Trial) -> list[Predictions]:
    return [reading for reading in trial.predictions if not reading.repeat]


def _all(
    kind: Kind, trial: Trial, ours: Sequence[Predictions], reference: Trial, theirs: Sequence[Predictions], folder: Path
) -> Iterator[Distance]:
    known = {reading.text_sha256: reading for reading in theirs}
    for reading in ours:
        if reading.text_sha256 in known:
            yield _distance(kind, trial, reading, reference.name, known[reading.text_sha256], folder)


def _distance(
    kind: Kind, trial: Trial, ours: Predictions, reference: str, theirs: Predictions, folder: Path
) -> Distance:
    first, other = read_distributions(ours, folder), read_distributions(theirs, folder)
    kl, support, same_top = None, "not reported", None
    by_position: tuple[float, ...] = ()
    if first is not None and other is not None and len(first.logprobs) == len(other.logprobs):
        divergences, same = kl_per_position(other, first)
        parts = np.split(divergences, np.cumsum([len(logprob) for logprob in ours.logprobs])[:-1])  # one a prompt
        kl = skewed_mean([max(float(part.mean()), 0.0) for part in parts])  # rounding may leave less than nothing
        same_top = float(np.mean(same))
        if first.ids is not None or other.ids is not None:
            kl = replace(kl, high=math.inf)
        widths = [side.logprobs.shape[1] for side in (first, other) if side.ids is not None]
        support = f"top {min(widths)} and the rest" if widths else "whole vocabulary"
        shared = min(map(len, parts))
        by_position = tuple(np.mean([part[:shared] for part in parts], axis=0).tolist())
    shifts = [
        abs(a - b) for p, q in zip(ours.logprobs, theirs.logprobs, strict=False) for a, b in zip(p, q, strict=True)
    ]
    pairs = list(zip(ours.greedy, theirs.greedy, strict=False))
    agreed = []  # how many first words are the same
    for a, b in ((first_text.split(), other_text.split()) for first_text, other_text in pairs):
        agreed.append(next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))))
    return Distance(
        kind=kind,
        key=trial.key,
        name=trial.name,
        reference=reference,
        text=ours.text,
        prompts=max(len(ours.logprobs), len(ours.greedy)),
        kl_nats=kl,
        support=support,
        same_top=same_top,
        shift_nats=float(np.mean(shifts)) if shifts else None,
        first_difference=float(np.median(agreed)) if pairs else None,
        same_answers=sum(a == b for a, b in pairs),
        kl_by_position=by_position,
    )


def read_distributions(reading: Predictions, folder: Path) -> Distributions | None:
    """The file of a reading; None where there is none (any more), or a damaged one, which is logged."""
    if reading.file is None or Path(reading.file).name != reading.file or not (folder / reading.file).exists():
        return None
    file = folder / reading.file
    try:
        with errors.reading(file, DamagedDistributions, "Delete it and its trial, and sweep again"):
            return _load(file, sum(map(len, reading.logprobs)))
    except DamagedDistributions as error:
        logger.warning("%s", error)
        return None


def _load(file: Path, positions: int) -> Distributions:
    content, most = BytesIO(read_regular(file, MOST_DISTRIBUTIONS_BYTES)), 2 * positions * WIDEST_BYTES + HEADER_BYTES
    with zipfile.ZipFile(content) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) > most:  # a kilobyte may hold a megabyte
            raise DamagedDistributions(f"{file}: it unpacks to {size} bytes (at most {most}). Delete it")
    with np.load(content, allow_pickle=False) as arrays:
        logprobs = arrays["logprobs"].astype(np.float64)
        ids = arrays["ids"].astype(np.int64) if "ids" in arrays else None
    if logprobs.ndim != 2 or len(logprobs) != positions or (ids is not None and ids.shape != logprobs.shape):
        raise DamagedDistributions(f"{file}: its arrays have other shapes than its trial says. Sweep again")
    return Distributions(logprobs, ids)


def kl_per_position(reference: Distributions, other: Distributions) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(KL divergence in nats, reference ‖ other; the same most likely token) at each position.

    Where one side tells its most likely tokens alone, tokens that both tell are compared one by one and all others as
    one outcome: by the data-processing inequality that is a lower bound (Cover and Thomas, Elements of Information
    Theory, theorem 2.8.1).
    """
    if reference.ids is None and other.ids is None:
        p, q = reference.logprobs, other.logprobs
        return (np.exp(p) * (p - q)).sum(axis=1), p.argmax(axis=1) == q.argmax(axis=1)
    rows = []
    for position in range(len(other.logprobs)):
        sides = [(side.ids, side.logprobs[position]) for side in (reference, other)]
        coarse = ((np.arange(len(row)) if ids is None else ids[position], row) for ids, row in sides)
        rows.append(_coarse(*coarse))
    return np.asarray([kl for kl, _ in rows]), np.asarray([same for _, same in rows])


Row = tuple[npt.NDArray[np.int64], Floats]


def _coarse(reference: Row, other: Row) -> tuple[float, bool]:
    _, first, second = np.intersect1d(reference[0], other[0], assume_unique=True, return_indices=True)
    p, q = reference[1][first], other[1][second]
    rest_p, rest_q = (max(1.0 - float(np.exp(logprobs).sum()), LEAST_MASS) for logprobs in (p, q))
    divergence = float((np.exp(p) * (p - q)).sum()) + rest_p * float(np.log(rest_p / rest_q))
    same = bool(reference[0][reference[1].argmax()] == other[0][other[1].argmax()])
    return divergence, same
