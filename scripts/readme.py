"""Generated parts of the docs: tables from the registries and from saved results. Called by cog."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engines.registry import engines_by_name, formats_of
from quant.registry import methods
from reports.metrics.definitions.table import definitions

ROOT = Path(__file__).resolve().parent.parent
FORMATS = (  # in the docs; a new method may have one of its own
    ["awq", "bitsandbytes", "compressed-tensors", "gguf", "gptq", "modelopt", "openvino", "safetensors", "torchao"]
)
WORDS = {"undecided": "inconclusive"}  # of files that older versions wrote


def methods_table(names: str) -> str:
    """The methods of these names: a new one asks for no edit here, and may be added when it is released."""
    listed = [methods()[name] for name in names.split()]
    rows = [f"| `{method.name}` | {method.summary} | {_parameters(method.parameters)} |" for method in listed]
    return "\n".join(["| method | what it does | parameters (defaults) |", "|---|---|---|", *rows])


def engines_table(names: str) -> str:
    """The engines of these names, with what each loads of our formats."""
    rows = []
    for engine in [engines_by_name()[name] for name in names.split()]:
        environments = ", ".join(f"{kind}: `{name}`" for kind, name in engine.environments.items()) or "attached"
        loads = ", ".join(formats_of(engine, FORMATS))
        rows.append(
            f"| `{engine.name}` | {engine.summary} | {loads} | {engine.dialect.prompt_logprobs} | {environments} |"
        )
    heads = "| engine | what it is | loads | log-probabilities by | environments |\n|---|---|---|---|---|"
    return "\n".join([heads, *rows])


def _parameters(parameters: Any) -> str:
    return (
        ", ".join(
            f"`{parameter.name}` ({'required' if parameter.required else parameter.default})"
            for parameter in parameters
        )
        or "none"
    )


def speed_table(file: str) -> str:
    """The speed and memory columns of a run's `--json` output."""
    data = json.loads((ROOT / file).read_text(encoding="utf-8"))
    lines = [
        "| cell | verdict | output tok/s | peak GiB | mean accuracy, % | perplexity ratio |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in data["cells"]:
        if row["status"] != "ok":
            lines.append(f"| {row['cell']} | {row['status']}: {row['reason'].splitlines()[0]} | | | | |")
            continue
        speed, accuracy = shown(row["output_tokens_per_second"]), shown(row["mean_accuracy"], 100)
        peak, ratio = f"{row['peak_memory_bytes'] / 1024**3:.2f}", shown(row["perplexity_ratio"])
        lines.append(
            f"| {row['cell']} | {WORDS.get(row['verdict'], row['verdict'])} | {speed} | {peak} | {accuracy} | {ratio} |"
        )
    return "\n".join(lines)


def results_table(file: str) -> str:
    """The accuracy columns of a run's `--json` output: value and 95 % interval."""
    data = json.loads((ROOT / file).read_text(encoding="utf-8"))
    columns = [tuple(column) for column in data["columns"]]
    heads = [f"{task}: {metric}" for task, metric in columns]
    lines = ["| cell | " + " | ".join(heads) + " | perplexity ratio |"]
    lines.append("|---|" + "---:|" * (len(columns) + 1))
    for row in data["cells"]:
        if row["status"] != "ok":
            reason = row["reason"].splitlines()[0]
            lines.append(f"| {row['cell']} ({row['status']}: {reason}) |" + " |" * (len(columns) + 1))
            continue
        tasks = {(task["task"], task["metric"]): task for task in row["tasks"]}
        cells = [shown(tasks.get(column), 100 if column[1] == "accuracy" else 1) for column in columns]
        lines.append(f"| {row['cell']} | " + " | ".join(cells) + f" | {shown(row['perplexity_ratio'])} |")
    return "\n".join(lines)


def shown(estimate: dict[str, float] | None, scale: float = 1) -> str:
    if estimate is None:
        return "–"
    value, low, high = (scale * estimate[name] for name in ("value", "low", "high"))
    digits = 1 if abs(value) >= 10 else 3
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def frontier_table(file: str) -> str:
    """Speed, memory, size and perplexity of a run's `--json` output."""
    data = json.loads((ROOT / file).read_text(encoding="utf-8"))
    lines = [
        "| cell | verdict | output tok/s at 1 | at 4 | TTFT, ms | TPOT, ms | peak GiB | bits | tensor types "
        "| perplexity ratio | accuracy, % |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for row in data["cells"]:
        if row["status"] != "ok":
            lines.append(f"| {row['cell']} | {row['status']}: {row['reason'].splitlines()[0]} |" + " |" * 9)
            continue
        made = row["checkpoint"]
        types = ", ".join(f"{count} {name}" for name, count in sorted(made["tensor_types"].items()))
        rates = (shown(row["single_output_tokens_per_second"]), shown(row["output_tokens_per_second"]))
        latency = f"{1000 * row['ttft_p50_seconds']:.0f} | {1000 * row['tpot_p50_seconds']:.0f}"
        lines.append(
            f"| {row['cell']} | {WORDS.get(row['verdict'], row['verdict'])} | {rates[0]} | {rates[1]} | {latency} "
            f"| {row['peak_memory_bytes'] / 1024**3:.2f} | {made['bits_per_weight']:.2f} | {types} "
            f"| {shown(row['perplexity_ratio'])} | {shown(row['mean_accuracy'], 100)} |"
        )
    return "\n".join(lines)


def read(file: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((ROOT / file).read_text(encoding="utf-8"))
    return data


def markdown(heads: Sequence[str], texts: int, rows: Iterable[Sequence[object]]) -> str:
    """A table whose first `texts` columns are words and the others numbers."""
    rule = "|" + "---|" * texts + "---:|" * (len(heads) - texts)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def metrics_tables() -> str:
    """Every figure with its definition, a table for each section."""
    lines = []
    for section in dict.fromkeys(entry.section for entry in definitions().values()):
        rows = [
            (
                f"**{entry.label}**",
                entry.formula,
                entry.unit,
                entry.better,
                entry.source,
                ", ".join(f"`{column.replace('*', '…')}`" for column in entry.columns),
            )
            for entry in definitions().values()
            if entry.section == section
        ]
        heads = ["figure", "formula", "unit", "better", "source", "columns of `results.csv`, keys of `--json`"]
        lines += [f"## {section}", "", markdown(heads, len(heads), rows), ""]
    return "\n".join(lines[:-1])


def drift_table(file: str) -> str:
    """How far engines and quantizations move answers and log-likelihoods, of a run's `--json` output."""
    heads = ["cell", "against", "of", "items", "answers changed", "mean, nats", "largest, nats"]
    rows = [
        (
            *(drift[name] for name in ("name", "reference", "kind", "items", "changed")),
            f"{drift['mean_nats']:.2g}",
            f"{drift['worst_nats']:.2g}",
        )
        for drift in read(file)["drift"]
    ]
    return markdown(heads, 3, rows)


def flips_table(file: str) -> str:
    """Each quantized cell against its baseline question by question, of a run's `--json` output."""
    heads = [
        "cell",
        "task",
        "verdict",
        "questions",
        "right → wrong",
        "wrong → right",
        "difference, points",
        "more questions",
    ]
    return markdown(heads, 3, [_flips(row, row["paired"]) for row in read(file)["flips"]])


def _flips(row: dict[str, Any], flip: dict[str, Any]) -> list[object]:
    more = flip["more_items"] if flip["verdict"] == "inconclusive" else ""
    items = f"{flip['items']} of {flip['drawn']}" if row.get("adaptive") else flip["items"]
    difference = shown(flip["difference"], 100)
    return [row["name"], row["task"], flip["verdict"], items, flip["lost"], flip["gained"], difference, more]


def closeness_table(file: str) -> str:
    """How close predictions are to the baseline's, noise first, of a run's `--json` output."""
    heads = ["cell", "against", "of", "text", "over", "KL, nats", "same token, %", "words in common", "same answers"]
    return markdown(heads, 5, map(_closeness, read(file)["closeness"]))


def _closeness(distance: dict[str, Any]) -> list[object]:
    kl, top = distance["kl_nats"], distance["same_top"]
    shown = f"{kl['value']:.2g} [{kl['low']:.2g}, {kl['high']:.2g}]" if kl else "–"
    words, answers = f"{distance['first_difference']:g}", f"{distance['same_answers']} of {distance['prompts']}"
    named = [distance[name] for name in ("name", "reference", "kind", "text", "support")]
    return [*named, shown, f"{100 * top:.1f}" if top is not None else "–", words, answers]


def perplexities_table(file: str) -> str:
    """Each perplexity in each engine, how far the farthest is from the first, of a run's `--json` output."""
    data = read(file)
    cells = [row for row in data["cells"] if row["status"] == "ok"]
    rows = []
    for column in map(tuple, data["columns"]):
        values = [task["value"] for row in cells for task in row["tasks"] if (task["task"], task["metric"]) == column]
        worst = max(abs(value / values[0] - 1) for value in values)
        rows.append([*column, *(f"{value:.4f}" for value in values), f"{worst:.3%}"])
    return markdown(["text", "convention", *(row["cell"].split(" · ")[1] for row in cells), "farthest"], 2, rows)


def likelihoods_table(file: str) -> str:
    """Perplexity ratios with verdicts, of a run's `--json` output."""
    rows = [
        (likelihood["name"], likelihood["text"], likelihood["verdict"], shown(likelihood["ratio"]))
        for likelihood in read(file)["likelihoods"]
    ]
    return markdown(["cell", "text", "verdict", "ratio"], 3, rows)


def tools_table(file: str) -> str:
    """What each tool's checkpoint costs: perplexity, seconds of quantizing, size, of a run's `--json` output."""
    data = json.loads((ROOT / file).read_text(encoding="utf-8"))
    lines = [
        "| cell | tool | WikiText-2 perplexity | ratio to its baseline | quantizing, s | weights, MB "
        "| bits of a linear weight |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in data["cells"]:
        if row["status"] != "ok":
            lines.append(f"| {row['cell']} | {row['status']}: {row['reason'].splitlines()[0]} | | | | | |")
            continue
        made, tasks = row["checkpoint"], row["tasks"]
        loss = next(task for task in tasks if task["metric"].startswith("perplexity"))
        bits = f"{made['linear_bits_per_weight']:.2f}" if made["linear_bits_per_weight"] else "16"
        tool = _tool(row["cell"], made["versions"]) if made["linear_bits_per_weight"] else ""
        ratio = shown(row["perplexity_ratio"])
        lines.append(
            f"| {row['cell']} | {tool} | {shown(loss)} | {ratio} "
            f"| {made['seconds']['total']:.0f} | {made['bytes'] / 1e6:.0f} | {bits} |"
        )
    return "\n".join(lines)


def _tool(cell: str, versions: dict[str, str]) -> str:
    """The package that quantized, with its version; the first word of a cell is its method."""
    tools = {"gptqmodel": "gptqmodel", "autoawq": "autoawq", "autoround": "auto-round", "torchao": "torchao"}
    name = tools.get(cell.split()[0], "nncf" if cell.startswith("openvino") else "llmcompressor")
    return f"{name} {versions[name]}"
