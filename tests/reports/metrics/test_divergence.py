from __future__ import annotations

import dataclasses
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evals.schema.accuracy import Predictions
from evals.schema.trial import Trial
from reports.decision.results import conclude
from reports.metrics.divergence import Distributions, distances, kl_per_position, read_distributions
from reports.output.html_report import contents, render
from tests.support.made_trials import ABOUT, trial

P = np.log([[0.5, 0.25, 0.125, 0.125]])
Q = np.log([[0.25, 0.5, 0.125, 0.125]])
KL = 0.5 * math.log(2) - 0.25 * math.log(2)


def _top(logprobs: np.ndarray, ids: list[int]) -> Distributions:
    return Distributions(logprobs[:, ids], np.asarray([ids]))


def test_the_divergence_over_the_whole_vocabulary() -> None:
    kl, same = kl_per_position(Distributions(P, None), Distributions(Q, None))
    assert kl.tolist() == pytest.approx([KL])
    assert same.tolist() == [False]
    assert kl_per_position(Distributions(P, None), Distributions(P, None))[0].tolist() == [0.0]


def test_over_the_most_likely_tokens_and_the_rest_it_is_smaller_at_most() -> None:
    """Both tell tokens 0 and 1; what is left, a quarter on both sides, is one outcome and adds nothing."""
    kl, same = kl_per_position(_top(P, [0, 1]), _top(Q, [1, 0]))
    assert kl.tolist() == pytest.approx([KL])
    assert same.tolist() == [False]
    partly, _ = kl_per_position(_top(P, [0, 2]), _top(Q, [1, 0]))  # token 0 alone is told by both
    assert partly.tolist() == pytest.approx([0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)])
    assert partly[0] < kl[0]


def test_the_whole_against_the_most_likely_tokens() -> None:
    kl, _ = kl_per_position(Distributions(P, None), _top(Q, [1, 0]))
    assert kl.tolist() == pytest.approx([KL])


def test_random_distributions_are_never_closer_than_over_fewer_tokens() -> None:
    generator = np.random.default_rng(0)
    p, q = (np.log(generator.dirichlet(np.full(40, 0.3), 50)) for _ in range(2))
    full, _ = kl_per_position(Distributions(p, None), Distributions(q, None))
    ids = [np.argsort(-side, axis=1)[:, :8] for side in (p, q)]
    tops = [Distributions(np.take_along_axis(side, best, axis=1), best) for side, best in zip((p, q), ids, strict=True)]
    fewer, _ = kl_per_position(*tops)
    assert (fewer >= -1e-12).all()
    assert (fewer <= full + 1e-12).all()


def _reading(folder: Path, name: str, rows: np.ndarray, *, repeat: bool = False) -> Predictions:
    np.savez(folder / name, logprobs=rows.astype(np.float32))
    values = tuple(float(row[0]) for row in rows)
    half = len(rows) // 2
    return Predictions("wikitext2", "digest", (values[:half], values[half:]), ("a b c", "d e"), -1, name, repeat)


def _close(result: Trial, *readings: Predictions) -> Trial:
    return dataclasses.replace(result, predictions=readings)


@pytest.fixture
def trials(tmp_path: Path) -> list[Trial]:
    rows, near, far = np.repeat(P, 4, 0), np.log(np.repeat(np.exp(P), 4, 0) * 0.999 + 0.00025), np.repeat(Q, 4, 0)
    base = _close(
        trial("none", 10, 1, 80), _reading(tmp_path, "a.npz", rows), _reading(tmp_path, "b.npz", near, repeat=True)
    )
    other = _close(trial("none", 10, 1, 80, engine="f"), _reading(tmp_path, "c.npz", near))
    quantized = _reading(tmp_path, "d.npz", far)
    return [base, other, _close(trial("rtn", 10, 1, 80), dataclasses.replace(quantized, greedy=("a b x", "d e")))]


def test_noise_comes_first_and_then_quantization(tmp_path: Path, trials: list[Trial]) -> None:
    divergences = distances(conclude(ABOUT, trials).cells, tmp_path)
    assert [(distance.kind, distance.name, distance.reference) for distance in divergences] == [
        ("another run", "none · e", "none · e"),
        ("another engine", "none · f", "none · e"),
        ("quantization", "rtn · e", "none · e"),
    ]
    assert [distance.kl_nats is not None and distance.kl_nats.value < 1e-5 for distance in divergences] == [
        True,
        True,
        False,
    ]
    quantized = divergences[2]
    assert quantized.kl_nats is not None
    assert quantized.kl_nats.value == pytest.approx(KL, abs=1e-6)
    assert (quantized.support, quantized.same_top, quantized.prompts) == ("whole vocabulary", 0.0, 2)
    assert quantized.shift_nats == pytest.approx(math.log(2), abs=1e-6)
    assert (quantized.first_difference, quantized.same_answers) == (2.0, 1)
    assert quantized.kl_by_position == pytest.approx((KL, KL), abs=1e-6)


def test_the_page_shows_them_and_a_checkpoint_that_predicts_otherwise_is_not_trusted(
    tmp_path: Path, trials: list[Trial]
) -> None:
    results = conclude(ABOUT, trials, tmp_path)
    judged = {judgement.cell.trial.name: judgement for judgement in results.judged}
    assert judged["rtn · e"].verdict == "untrusted"
    assert "predicts the baseline's token at 0 % of the positions" in judged["rtn · e"].why
    assert judged["none · f"].verdict == "baseline"
    page = render(contents(results), {})
    assert "KL divergence</h2>" in page
    assert "another run" in page


def test_a_divergence_wholly_beyond_the_limit_fails(tmp_path: Path, trials: list[Trial]) -> None:
    same = np.log(np.repeat([[0.4, 0.2, 0.2, 0.2]], 4, 0))  # the same most likely token: trusted
    trials[2] = _close(trials[2], _reading(tmp_path, "e.npz", same))
    for limit, verdict in ((0.5, "meets"), (0.01, "fails")):
        about = ABOUT | {"limits": {"accuracy_recovery": 0.9, "perplexity_ratio": 3.0, "kl_nats": limit}}
        judged = {judgement.cell.trial.name: judgement for judgement in conclude(about, trials, tmp_path).judged}
        assert judged["rtn · e"].verdict == verdict
        assert "KL divergence 0.0" in judged["rtn · e"].why


def test_a_divergence_over_the_most_likely_tokens_may_fail_a_limit_and_never_meets_it(
    tmp_path: Path, trials: list[Trial]
) -> None:
    """The same four tokens' file, of which the cell tells the three most likely ones."""
    same = np.log(np.repeat([[0.4, 0.2, 0.2, 0.2]], 4, 0))
    reading = _reading(tmp_path, "e.npz", same)
    np.savez(tmp_path / "e.npz", logprobs=same[:, :3].astype(np.float32), ids=np.repeat([[0, 1, 2]], 4, 0))
    trials[2] = _close(trials[2], dataclasses.replace(reading, top_tokens=3))
    for limit, verdict in ((0.5, "inconclusive"), (0.001, "fails")):
        about = ABOUT | {"limits": {"accuracy_recovery": 0.5, "perplexity_ratio": 3.0, "kl_nats": limit}}
        judged = {judgement.cell.trial.name: judgement for judgement in conclude(about, trials, tmp_path).judged}
        assert judged["rtn · e"].verdict == verdict
        assert "no upper bound]" in judged["rtn · e"].why


def test_without_files_what_is_left_is_told(tmp_path: Path, trials: list[Trial]) -> None:
    for file in tmp_path.glob("*.npz"):
        file.unlink()
    divergences = distances(conclude(ABOUT, trials).cells, tmp_path)
    assert all(
        distance.kl_nats is None and distance.same_top is None and distance.support == "not reported"
        for distance in divergences
    )
    assert divergences[2].shift_nats == pytest.approx(math.log(2), abs=1e-6)


def test_other_prompts_are_not_compared(tmp_path: Path, trials: list[Trial]) -> None:
    other = dataclasses.replace(trials[2].predictions[0], text_sha256="other")
    trials[2] = _close(trials[2], other)
    assert [distance.kind for distance in distances(conclude(ABOUT, trials).cells, tmp_path)] == [
        "another run",
        "another engine",
    ]


def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reading = _reading(tmp_path, "e.npz", np.log(np.full((4, 4), 0.25)))
    with (
        zipfile.ZipFile(tmp_path / "e.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("logprobs.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (4, 2**26)})
        for _ in range(1024):
            file.write(bytes(2**20))
    assert (tmp_path / "e.npz").stat().st_size < 2 * 2**20
    assert read_distributions(reading, tmp_path) is None
    assert "unpacks to 1073741952 bytes (at most 67174400). Delete it" in caplog.text
