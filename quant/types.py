"""What a quantization is (`QuantSpec`, `Scheme`) and what it leaves behind (`Checkpoint`).

Standard library only: this module is imported in every quantizer's and every engine's environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from quant.canonical_json import read_regular

CHECKPOINT_SCHEMA_VERSION = 1


CHECKPOINT_RECORD = "bitfrontier-checkpoint.json"
PARTIAL_RECORD = "bitfrontier-partial.json"
CALIBRATION_WARNING = "calibration: "  # begins a warning of ours, among those of the tools' libraries


FLOATS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Range:
    """Closed interval that a method's numeric parameter must lie in: `Annotated[float, Range(0, 1)]`."""

    minimum: float
    maximum: float


GroupSize = Annotated[int, Range(0, 65536)]  # 0: one scale a channel


@dataclass(frozen=True)
class Stored:
    """Marks a parameter that names a checkpoint: `Annotated[str, Stored()]`, a folder relative to the plan or
    `hub:organisation/name`. The method is given the folder's path; what lies in it, not its name, decides the key.
    """


@dataclass(frozen=True)
class Program:
    """Marks an option that names a program of the user's: `Annotated[str, Program()]`, a path or a name on the PATH.

    What a plan gives there is said first as not ours, and refused in a plan that came by Prefect.
    """


@dataclass(frozen=True)
class Architecture:
    """`name` is the class of the model, such as LlamaForCausalLM; empty where nothing is known yet.

    `experts`: a mixture of experts. `recurrent`: some layers keep a state in place of keys and values.
    `sentencepiece`: the model has its tokenizer in SentencePiece's format, too (`tokenizer.model`). `gpt2_tokenizer`:
    its tokenizer is of the class GPT2Tokenizer. `window`: tokens that a sliding window holds, where some layers have
    one, and `windowed` which do; empty where the configuration does not say it. `output_widths`: those of the linear
    layers that methods quantize; empty where they are not known.
    """

    name: str = ""
    experts: bool = False
    recurrent: bool = False
    sentencepiece: bool = False
    gpt2_tokenizer: bool = False
    window: int | None = None
    output_widths: tuple[int, ...] = ()
    windowed: tuple[bool, ...] = ()

    def within(self, tokens: int) -> Architecture:
        """What it is for texts of so many tokens: a window that holds them all is none."""
        return replace(self, window=None) if self.window and tokens <= self.window else self


UNKNOWN_ARCHITECTURE = Architecture()


@dataclass(frozen=True)
class Scheme:
    """Numeric format of the quantized linear layers, in the field's W/A notation.

    `weights` and `activations` are one of float32, float16, bfloat16, int8, int4, fp8, or the name of a type that
    says all of itself (Q4_K_M, NF4, NVFP4, …). `group_size` counts weights that share a scale along the input
    dimension; None means one scale per output channel. `static_activations` tells activation scales fixed by
    calibration from those computed per token.
    """

    weights: str
    activations: str = "float16"
    group_size: int | None = None
    symmetric: bool = True
    static_activations: bool = False
    kv_cache: str | None = None

    @property
    def unquantized(self) -> bool:
        """True for a baseline: weights that were cast to a floating-point type and not quantized."""
        return self.weights in FLOATS

    @property
    def label(self) -> str:
        """Short name such as `W4A16-g64`, `W8A8-int8`, `FP8-dynamic`, `Q4_K_M`, `float16`."""
        if not self.weights.startswith(("int", "fp8")):
            return self.weights
        if self.weights == "fp8" and self.activations != "fp8":
            name = "W8A16-fp8"
        elif self.weights == "fp8":
            name = "FP8-static" if self.static_activations else "FP8-dynamic"
        elif self.activations == "int8":
            name = f"W{self.weights.removeprefix('int')}A8-int8"
        elif self.activations == "fp8":
            name = f"W{self.weights.removeprefix('int')}A8-fp8"
        else:
            name = f"W{self.weights.removeprefix('int')}A16"
        parts = [name, f"g{self.group_size}" if self.group_size else "", "" if self.symmetric else "asym"]
        return "-".join([part for part in parts if part] + ([f"kv-{self.kv_cache}"] if self.kv_cache else []))


def weight_only(parameters: Mapping[str, Any]) -> Scheme:
    """W4A16 or W8A16 of a method's `scheme`, `group_size` (0: one scale per channel) and `symmetric`."""
    return Scheme(f"int{parameters['scheme'][1]}", "float16", parameters["group_size"] or None, parameters["symmetric"])


@dataclass(frozen=True)
class Calibration:
    """Token ids that a method may look at while it chooses scales.

    `token_ids` is a `.npy` file of int32, shape (samples, length); `sha256` is the digest of its bytes.
    """

    token_ids: Path
    sha256: str
    samples: int
    length: int
    seed: int


@dataclass(frozen=True)
class CalibrationSpec:
    """Which text calibrates, before it is tokenized. `text_sha256` is the digest of the text's UTF-8 bytes."""

    text: str
    text_sha256: str
    samples: int
    length: int
    seed: int


@dataclass(frozen=True)
class QuantSpec:
    """One method with resolved parameters. Equal specs on equal models give equal checkpoints."""

    method: str
    parameters: Mapping[str, Any]
    scheme: Scheme
    format: str
    calibration: CalibrationSpec | None = None

    @property
    def label(self) -> str:
        return f"{self.method} {self.scheme.label}"


@dataclass(frozen=True)
class Checkpoint:
    """A finished folder of weights and how it came about.

    `bytes` counts the files of weights; `bits_per_weight` is 8 × tensor bytes ÷ parameters of the source model,
    `linear_bits_per_weight` the same over the layers that were quantized (None where none were). `tensor_types`
    counts tensors by the type that they really have in the file.
    """

    key: str
    model: str
    spec: QuantSpec
    folder: str
    bytes: int
    bits_per_weight: float
    linear_bits_per_weight: float | None
    seconds: Mapping[str, float]
    peak_memory_bytes: int
    content_sha256: str
    files: Mapping[str, str]
    versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    tensor_types: Mapping[str, int] = field(default_factory=dict)
    schema_version: int = field(default=CHECKPOINT_SCHEMA_VERSION)

    @property
    def calibration_warnings(self) -> tuple[str, ...]:
        """What was wrong with the calibration, for people."""
        return tuple(text for text in self.warnings if text.startswith(CALIBRATION_WARNING))


def read_checkpoint(folder: Path) -> Checkpoint:
    """The record in `folder`. Raises FileNotFoundError where the folder was never finished."""
    raw = json.loads(read_regular(folder / CHECKPOINT_RECORD))
    spec = raw["spec"]
    calibration = CalibrationSpec(**spec["calibration"]) if spec["calibration"] else None
    quant = QuantSpec(**{**spec, "scheme": Scheme(**spec["scheme"]), "calibration": calibration})
    return Checkpoint(**{**raw, "spec": quant, "folder": str(folder), "warnings": tuple(raw["warnings"])})
