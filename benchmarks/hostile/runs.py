"""Runs that are damaged or somebody else's, caches, results of other tools, and arguments."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hostile.case import TEXTS, Case, Draw, any_value, change, damage
from benchmarks.hostile.places import odd_path, odd_target, put_oddity
from engines.runtime.cache import TAG, TAG_LINE, TAG_SIGNATURE
from engines.runtime.own_packages import ROOT
from evals.schema.accuracy import Predictions
from evals.schema.trial import Trial
from quant.canonical_json import write_json
from tests.support.made_runs import write_run
from tests.support.made_trials import failed, trial

COMMANDS: tuple[str, ...] = ("report run", "status run", "status run --json", "compare run sound", "compare sound run")
COMMANDS += ("compare run run --json", "export run out", "retry run --failed", "plan plan.yaml --runs .")
WRITES = {"report": ("run",), "export": ("out",), "retry": ("run",)}
FOREIGN = ROOT / "tests" / "reports" / "compare" / "foreign"
LM_EVAL = {
    "results": {"arc": {"alias": "arc", "acc,none": 0.5, "acc_stderr,none": 0.05}},
    "n-samples": {"arc": {"original": 100, "effective": 100}},
    "configs": {"arc": {"num_fewshot": 0}},
    "config": {"model": "hf", "model_args": "pretrained=m"},
}


def write_sound_run(folder: Path) -> None:
    """A run of two cells with every file that a sweep leaves."""
    trials = [trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.05), failed("gptq", "it was killed")]
    names = [f"{number}.json" for number in range(len(trials))]
    cells = [
        {"trial": name, "name": each.name, "model": "m", "checkpoint": "0" * 32}
        for name, each in zip(names, trials, strict=True)
    ]
    write_run(
        folder,
        *(replace(each, predictions=_predictions(number)) for number, each in enumerate(trials)),
        file="plan.yaml",
        data_root=None,
        cells=cells,
        warnings=["a warning"],
        price={"per_device_hour": 2.0, "currency": "EUR", "max_cost_per_million_tokens": None},
        slo={"ttft_seconds": 0.5, "tpot_seconds": 0.2, "percentile": 50.0},
        memory={"budgets_bytes": [2**30], "context_tokens": [2048]},
        stale={names[0]: ["x 1 → 2"]},
        needs=["checkpoints/" + "0" * 32],
        bytes_per_token={"m": 4.0},
        forecast={"cells": {name: {"speed": 1.0} for name in names}},
    )
    for number in range(len(trials)):
        np.savez(folder / "trials" / f"{number}.npz", logprobs=np.log(np.full((4, 8), 1 / 8)))


def _predictions(number: int) -> tuple[Predictions, ...]:
    return (Predictions("wikitext2", "0", ((-1.0, -2.0),) * 2, ("a b", "c"), -1, f"{number}.npz"),)


def damaged_runs(draw: Draw, folder: Path) -> Case:
    """A run of which one file is damaged, changed at any key, or nothing usual."""
    files = sorted(file for file in (folder / "run").rglob("*") if file.is_file())
    file = draw.choice([*files, folder / "run" / "sweep.json"])
    way = draw.randrange(8)
    if way == 0:
        about = put_oddity(file, draw)
    elif way == 1:
        about = put_oddity(
            draw.choice((folder / "run", folder / "run" / "trials", folder / "run" / "report.html")), draw
        )
    elif way < 6 and file.suffix == ".json":
        document, about = change(json.loads(file.read_text(encoding="utf-8")), draw)
        file.write_bytes(json.dumps(document).encode(errors="surrogatepass"))
    else:
        content, about = damage(file.read_bytes(), draw)
        file.write_bytes(content)
    return _command(draw, f"{file.name}: {about}")


def names_in_runs(draw: Draw, folder: Path) -> Case:
    """A sound run whose texts are markup, escapes and names that are none."""
    text = draw.choice([text for text in TEXTS if (len(text) < 1000 and text.isprintable()) or "\x1b" in text])
    first: Trial = trial("none", 10, 2.0, 80, model=text or "m")
    second = trial("rtn", 20, 1.0, 78, 2.05, model=text or "m", label=draw.choice((text, "rtn")))
    place = folder / "run"
    for file in place.glob("trials/*"):
        file.unlink()
    about = json.loads((place / "sweep.json").read_text(encoding="utf-8"))
    third = failed("gptq", text)
    for number, each in enumerate((first, second, third)):
        _write(place / "trials" / f"{number}.json", each)
        about["cells"][number] |= {"name": text, "model": text}
    about |= {"name": text, "models": [text], "device": text, "warnings": [text], "notes": [text], "command": text}
    about["currency"] = text
    _write(place / "sweep.json", about)
    return _command(draw, repr(text)[:60])


def _write(file: Path, value: Any) -> None:
    try:
        write_json(file, value)
    except UnicodeEncodeError:
        file.write_text("{}", encoding="utf-8")


def _command(draw: Draw, about: str) -> Case:
    words = draw.choice(COMMANDS).split()
    return Case(tuple(words), about, WRITES.get(words[0], ()))


def foreign_results(draw: Draw, folder: Path) -> Case:
    """A result of vllm bench, GuideLLM or lm-eval that is damaged or changed at any key."""
    documents = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOREIGN.glob("*.json"))}
    documents |= {"lm_eval.json": LM_EVAL}
    name = draw.choice(sorted(documents))
    if draw.random() < 0.1:
        about = put_oddity(folder / name, draw)
    elif draw.random() < 0.8:
        document, about = change(json.loads(json.dumps(documents[name])), draw)
        (folder / name).write_bytes(json.dumps(document).encode(errors="surrogatepass"))
    else:
        content, about = damage(json.dumps(documents[name]).encode(), draw)
        (folder / name).write_bytes(content)
    cell = draw.choice(("none · e", "none · e", "none · e", str(draw.choice(TEXTS))))
    extra = draw.choice(((), (), ("--json",), ("--speed-margin", draw.choice(("nan", "1e400", "-1", "x", "0.05")))))
    return Case(("compare", name, "sound", "--cell", cell, *extra), f"{name}: {about}")


RECORDS = {
    "checkpoints": ("0" * 32, "bitfrontier-checkpoint.json", {"key": "0" * 64, "spec": {"label": "x"}}),
    "environments": ("x-0123456789ab", "bitfrontier-ready.json", {"pins": "x.txt"}),
    "models": ("x-0123456789ab", "bitfrontier-model.json", {"wheel_sha256": "0123456789ab"}),
    "data": ("x-0123456789ab", "bitfrontier-data.json", {"wheel_sha256": "0123456789ab"}),
}


def damaged_caches(draw: Draw, folder: Path) -> Case:
    """A cache whose records, links, kept checkpoints or answers are damaged; `gc` frees, `plan` reads."""
    cache = folder / "cache"
    for name in ("runs", "kept", "answers"):
        (cache / name).mkdir(parents=True)
    (cache / TAG).write_text(f"{TAG_SIGNATURE}\n{TAG_LINE}\n")
    write_json(cache / "runs" / "0.json", {"folder": str(folder / "run")})
    write_json(cache / "kept" / f"{'0' * 32}.json", {"name": "0" * 32, "label": "x", "model": "m"})
    for kind, (name, record, document) in RECORDS.items():
        (cache / kind / name).mkdir(parents=True)
        write_json(cache / kind / name / record, document)
    with closing(sqlite3.connect(cache / "answers" / f"{'1' * 32}.sqlite")) as database:
        database.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    entries = sorted(cache.rglob("*"))
    if draw.random() < 0.5:
        entries = [entry for entry in entries if entry.is_file()]
    place = draw.choice([*entries, folder / "run" / "sweep.json"])
    if place.is_dir() or draw.random() < 0.3:
        about = put_oddity(place, draw)
    elif place.suffix == ".json" and draw.random() < 0.7:
        document, about = change(json.loads(place.read_text(encoding="utf-8")), draw)
        place.write_bytes(json.dumps(document).encode(errors="surrogatepass"))
    else:
        content, about = damage(place.read_bytes(), draw)
        place.write_bytes(content)
    words = draw.choice(
        ("gc --json", "gc --yes", "gc --yes --json", "gc --adopt", f"gc --release {'0' * 32}", "doctor")
    )
    return Case(tuple(words.split()), f"{os.path.relpath(place, folder)}: {about}")


ARGUMENTS = (
    "plan PATH",
    "plan --runs PATH plan.yaml",
    "plan --data-root PATH plan.yaml",
    "sweep PATH",
    "quantize PATH x",
    "quantize plan.yaml PATH",
    "report PATH",
    "status PATH",
    "status PATH --json",
    "compare PATH run",
    "compare run PATH",
    "compare run run --html TARGET",
    "compare run run --cell PATH",
    "compare run run --speed-margin PATH",
    "export run TARGET",
    "export PATH out",
    "retry PATH --failed",
    "retry run --failed",
    "gc --release PATH",
    "methods PATH",
    "engines PATH",
    "PATH",
    "plan plan.yaml PATH",
)


def arguments(draw: Draw, folder: Path) -> Case:
    """A path or text that is no usual one in the place of any argument, or of the cache."""
    if draw.random() < 0.1:
        place = odd_target(draw, folder)
        command = draw.choice(("plan plan.yaml", "gc --json", "doctor", "status run", "engines", "gc --adopt"))
        return Case(tuple(command.split()), f"cache at {place!r}", (place,), {"BITFRONTIER_CACHE": place})
    words = draw.choice(ARGUMENTS).split()
    place = odd_target(draw, folder) if "TARGET" in words else odd_path(draw, folder)
    if "PATH" in words and draw.random() < 0.2:
        place = draw.choice(TEXTS)
    place = place.replace("\x00", "")[:100_000]  # the kernel passes no NUL, and no longer argument
    given = tuple(place if word in ("PATH", "TARGET") else word for word in words)
    return Case(given, " ".join(words) + f" with {place!r:.50}", (place, "run") if "TARGET" in words else ("run",))


def random_values(draw: Draw, folder: Path) -> Case:
    """A run's description or trial of any shape at all."""
    file = folder / "run" / draw.choice(("sweep.json", "trials/0.json"))
    file.write_bytes(json.dumps(any_value(draw, 3)).encode(errors="surrogatepass"))
    return _command(draw, f"{file.name} of any shape")
