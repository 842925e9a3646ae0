"""`bitfrontier init MODEL`: the plan that it writes is valid at once, on whatever machine it was written for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

import engines.telemetry.device
import flows.validate.engines
import flows.validate.plan
from engines.types import Device
from evals.rounds.race import RaceRules
from evals.stats.intervals import least_count
from flows.cli.__main__ import main as _registers_all  # noqa: F401
from flows.cli.app import app
from flows.cli.new_plan.choice import NoFirstPlan, first_plan
from flows.cli.new_plan.text import plan_name, plan_text
from flows.plan.samples import FileInTheWay
from flows.plan.source import load_plan
from flows.plan.yaml_reader import plan_yaml
from flows.sources.model_facts import ModelFacts, look_up_model
from flows.validate.plan import load_and_check
from flows.validate.resolved import ResolvedPlan
from quant.types import Architecture

OLD_CPU = Device("cpu", "made up, 4 cores", frozenset({"avx2"}), 32 * 1024**3)
NEW_CPU = Device("cpu", "made up, 64 cores", frozenset({"avx2", "avx512f", "amx_int8"}), 512 * 1024**3)
H200 = Device("cuda", "NVIDIA H200", frozenset({"sm90"}), 139 * 1024**3, ("GPU-0",))
FOUR_GPUS = Device("cuda", "made up", frozenset({"sm80"}), 80 * 1024**3, ("GPU-0", "GPU-1", "GPU-2", "GPU-3"))
LARGE = ModelFacts("Large-70B", "hub", "them/Large-70B", 70 * 10**9, (8192, 28672), 131072, 128256, 0, "")


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no program of an engine's
    return tmp_path


def _on(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.telemetry.device, "find_device", lambda *_: device)
    monkeypatch.setattr(flows.validate.plan, "find_device", lambda _: device)


def _init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


def _pairs(sweep: ResolvedPlan) -> dict[str, set[str]]:
    pairs: dict[str, set[str]] = {}
    for cell in sweep.cells:
        assert cell.unsupported is None, cell.name
        pairs.setdefault(cell.choice.engine.name, set()).add(cell.quantization.label)
    return pairs


@pytest.mark.parametrize("device", [OLD_CPU, NEW_CPU, H200, FOUR_GPUS], ids=lambda device: device.name)
def test_the_plan_is_valid_and_all_of_its_cells_are_supported(
    place: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    _on(device, monkeypatch)
    done = _init("tiny")
    assert done.exit_code == 0, done.output
    sweep = load_and_check(place / "tiny.yaml")
    assert sweep.device == device
    assert sweep.warnings == ()
    pairs = _pairs(sweep)
    assert all(any("16" in label for label in labels) and len(labels) > 1 for labels in pairs.values())
    assert f"tiny.yaml: {len(sweep.cells)} cells" in done.output
    assert "next: bitfrontier plan tiny.yaml" in done.output
    schema = json.loads((place / "plan.schema.json").read_text(encoding="utf-8"))
    plan = plan_yaml().load((place / "tiny.yaml").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(plan)] == []


def test_pairs_are_those_that_this_processor_has_kernels_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {}
    for device in (OLD_CPU, NEW_CPU):
        _on(device, monkeypatch)
        assert _init("tiny", "--force").exit_code == 0
        labels[device.name] = _pairs(load_and_check(place / "tiny.yaml"))["vllm"]
    assert "gptq W4A16-g32" not in labels[OLD_CPU.name]
    assert "gptq W4A16-g32" in labels[NEW_CPU.name]
    assert "smoothquant W8A8-int8" in labels[OLD_CPU.name]


def test_the_quick_starts_model_on_this_machine(place: Path) -> None:
    assert _init("pypi:smollm2-135m-instruct", "--to", "plans/mine.yaml").exit_code == 0
    sweep = load_and_check(place / "plans" / "mine.yaml")
    assert "openvino W4A16-g64-asym" in _pairs(sweep)["openvino"]  # a group that divides 576


def test_a_model_too_large_for_one_gpu_is_spread(place: Path) -> None:
    first = first_plan(LARGE, FOUR_GPUS)
    text = plan_text(first, "hub:them/Large-70B", "large.yaml")
    assert "{engine: vllm, methods: [none, fp8, smoothquant, gptq, awq], options: {tensor_parallel: 4}}" in text
    assert "preset: llama-2-70b}" in text
    assert not first.lacks_memory
    alone = first_plan(LARGE, replace(FOUR_GPUS, slots=("GPU-0",)))
    assert alone.lacks_memory
    assert "may exceed this machine's memory" in plan_text(alone, "hub:them/Large-70B", "large.yaml")


@pytest.mark.parametrize(("device", "recovery"), [(OLD_CPU, 0.94), (H200, 0.98)], ids=lambda value: str(value)[:12])
def test_limits_are_such_that_the_questions_and_requests_decide(
    place: Path, monkeypatch: pytest.MonkeyPatch, device: Device, recovery: float
) -> None:
    _on(device, monkeypatch)
    assert _init("tiny").exit_code == 0
    plan = load_plan(place / "tiny.yaml").plan
    assert plan.limits.accuracy_recovery == recovery
    asked = sum(task.limit or 0 for task in plan.tasks)
    assert f"what {asked} questions can show without a loss" in (place / "tiny.yaml").read_text()
    assert plan.slo is not None
    needed = least_count(plan.slo.limits.percentile)
    assert all((load.requests or 0) * RaceRules().first_look >= needed for load in plan.load)


def test_engines_that_are_left_out_say_why(place: Path) -> None:
    left_out = first_plan(look_up_model("tiny", place), H200).left_out
    assert "no trtllm-serve on the PATH" in left_out["tensorrt_llm"]
    assert left_out["deepspeed"] == "here it serves the unquantized model alone"
    assert "emulates quantized layers" in left_out["transformers"]


def test_an_engine_without_its_python_is_left_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(environment: str) -> str:
        return f"{environment} needs Python 3.10" if environment == "sglang-cuda" else ""

    monkeypatch.setattr(flows.validate.engines, "python_fault", fault)
    first = first_plan(look_up_model("tiny", place), H200)
    assert first.left_out["sglang"] == "sglang-cuda needs Python 3.10"
    assert "vllm" in first.engines


def test_few_positions_give_short_requests(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((place / "tiny" / "config.json").read_text())
    (place / "tiny" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 400}))
    _on(H200, monkeypatch)
    assert _init("tiny").exit_code == 0
    plan = load_plan(place / "tiny.yaml").plan
    assert plan.max_length == 398
    assert plan.calibration.length == 400


def test_nothing_is_overwritten(place: Path) -> None:
    (place / "tiny.yaml").write_text("mine")
    done = _init("tiny")
    assert isinstance(done.exception, FileInTheWay)
    assert "tiny.yaml exists: nothing was written. Name another by --to, or overwrite it by --force" in str(
        done.exception
    )
    assert (place / "tiny.yaml").read_text() == "mine"
    (place / "plan.schema.json").write_text("theirs")
    assert _init("tiny", "--force").exit_code == 0
    assert (place / "plan.schema.json").read_text() == "theirs"


def test_a_model_that_is_not_there_is_one_line(place: Path) -> None:
    done = _init("tini")
    assert isinstance(done.exception, NoFirstPlan)
    assert done.exception.exit_code == 2
    assert "tini does not exist (give a folder, `hub:organisation/name`" in str(done.exception)
    assert "(did you mean `hub:Qwen/Qwen2.5-7B-Instruct`? Otherwise give" in str(
        _init("Qwen/Qwen2.5-7B-Instruct").exception
    )
    assert list(place.glob("*.yaml")) == []


def test_a_device_that_is_hidden_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such(kind: str = "auto") -> Device:
        raise ValueError("device 'auto': CUDA_VISIBLE_DEVICES names 7, which is not a whole GPU of this machine")

    monkeypatch.setattr(engines.telemetry.device, "find_device", no_such)
    done = _init("tiny")
    assert "names 7, which is not a whole GPU of this machine. Name whole GPUs" in str(done.exception)


def test_an_unsuitable_model_and_one_that_no_engine_serves(place: Path) -> None:
    model = look_up_model("tiny", place)
    with pytest.raises(NoFirstPlan, match=r"tiny is unsuitable: it reads images\. Give another"):
        first_plan(replace(model, unsuitable="it reads images. Give another"), H200)
    nothing = replace(H200, kind="cuda")
    gpt2 = replace(model, architecture=Architecture("GPT2LMHeadModel"))
    with pytest.raises(NoFirstPlan, match=r"no engine here serves tiny quantized \(.*Choose another model or machine"):
        first_plan(gpt2, nothing)


def test_what_a_model_is_called_begins_no_key(place: Path) -> None:
    """A folder may be called anything."""
    model = replace(look_up_model("tiny", place), name='evil"\nengines: [openai]\n#')
    text = plan_text(first_plan(model, H200), 'evil"\nengines: [openai]', "evil.yaml")
    plan = plan_yaml().load(text)
    assert plan["models"] == ['evil"\nengines: [openai]']
    assert plan["name"] == plan_name(model) == "evil-engines-openai"


def test_a_models_folder_is_named_from_the_plans(place: Path) -> None:
    (place / "plans").mkdir()
    assert _init("tiny", "--to", "plans/a.yaml").exit_code == 0
    assert load_plan(place / "plans" / "a.yaml").plan.models == ["../tiny"]
    assert _init(str(place / "tiny"), "--to", "plans/b.yaml").exit_code == 0
    assert load_plan(place / "plans" / "b.yaml").plan.models == [str(place / "tiny")]


def test_without_a_model_the_sample_plans_are_copied(place: Path) -> None:
    done = _init("--to", "there")
    assert done.exit_code == 0
    assert "there/configs/quickstart.yaml" in done.output
    assert (place / "there" / "configs" / "plan.schema.json").exists()
    assert "nothing was copied" in str(_init("--to", "there").exception)
    assert _init("--to", "there", "--force").exit_code == 0
