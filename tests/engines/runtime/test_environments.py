from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

import engines.runtime.environments as environment_module
import engines.runtime.installing.pip_config
from engines.runtime.environments import EnvironmentFailed, build, is_built, known_environments, probe, resolve, run_uv
from engines.runtime.identities import image_identity
from engines.runtime.installing.pip_config import (
    UnreadableSettings,
    absolute_paths,
    index_variables,
    missing_pins,
    pip_files,
    pip_settings,
    torch_backend,
    uv_files,
)
from engines.runtime.own_packages import ROOT
from engines.runtime.process import running, wait


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def small_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pins"
    folder.mkdir()
    (folder / "small.txt").write_text("packaging==26.3\n")
    monkeypatch.setattr(environment_module, "PINS_FOLDER", folder)
    monkeypatch.setattr(engines.runtime.installing.pip_config, "PINS_FOLDER", folder)
    return folder


def test_every_environment_is_pinned_without_addresses() -> None:
    for name in known_environments():
        text = (environment_module.PINS_FOLDER / f"{name}.txt").read_text()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert lines
        assert all("==" in line for line in lines)
        assert "://" not in text
        assert "--" not in "".join(lines)


def test_an_environment_is_built_once_and_works(own_cache: Path, small_pins: Path) -> None:
    environment = resolve("small")
    assert not is_built(environment)
    lines: list[str] = []
    threads = [threading.Thread(target=build, args=(environment, lines.append)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines == ["building environment small"]
    assert is_built(environment)
    facts = probe(environment)
    assert facts["packages"]["packaging"] == "26.3"
    assert missing_pins(small_pins / "small.txt", facts["packages"]) == []


def test_an_environment_is_compiled_when_it_is_built(own_cache: Path, small_pins: Path) -> None:
    """Where Python may not write bytecode, every start of an engine would compile all it imports."""
    build(resolve("small"))
    assert list(own_cache.glob("environments/small-*/lib/python*/site-packages/packaging/__pycache__/version.*.pyc"))


def test_other_pins_are_another_environment(own_cache: Path, small_pins: Path) -> None:
    before = resolve("small").folder
    (small_pins / "small.txt").write_text("packaging==26.2\n")
    assert resolve("small").folder != before


def test_packages_left_out_and_versions_overridden_belong_to_an_environment(own_cache: Path, small_pins: Path) -> None:
    (small_pins / "small.txt").write_text("httpcore==1.0.9\nh11==0.16.0\n")
    plain = resolve("small").folder
    (small_pins / "small.excludes").write_text("certifi\n")
    (small_pins / "small.overrides").write_text("h11==0.15.0\n")
    adjusted = resolve("small")
    assert adjusted.folder != plain
    build(adjusted)
    packages = probe(adjusted)["packages"]
    assert packages["h11"] == "0.15.0"
    assert "certifi" not in packages


def test_a_build_that_was_cut_off_starts_again(own_cache: Path, small_pins: Path) -> None:
    environment = resolve("small")
    assert environment.folder is not None
    (environment.folder / "bin").mkdir(parents=True)
    (environment.folder / "bin" / "python").write_text("half")
    build(environment)
    assert probe(environment)["packages"]["packaging"] == "26.3"


def test_pins_that_do_not_exist_fail_with_uvs_words(own_cache: Path, small_pins: Path) -> None:
    (small_pins / "small.txt").write_text("packaging==0.0.1rc99\n")
    with pytest.raises(EnvironmentFailed, match="uv pip install failed"):
        build(resolve("small"))
    assert not is_built(resolve("small"))


def test_an_unknown_environment_names_the_known() -> None:
    with pytest.raises(EnvironmentFailed, match=r"no environment 'nothing'.*transformers"):
        resolve("nothing")


def test_a_given_interpreter_stands_in() -> None:
    environment = resolve("vllm-cpu", {"python": sys.executable})
    assert is_built(environment)
    assert environment.argv(["-m", "x"], {"A": "1"}) == [sys.executable, "-m", "x"]
    assert probe(environment)["python"] == sys.version.split()[0]


def test_folders_of_packages_stand_beside_a_given_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `pip install --target` makes; PYTHONPATH of the shell goes through to nobody."""
    site = tmp_path / "site"
    record = site / "beside-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: beside\nVersion: 1.0\n")
    (site / "beside.py").write_text("import engines.runtime.cache\nplace = engines.runtime.cache.__file__\n")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    plain, given = (resolve("vllm-cpu", {"python": sys.executable, "site": paths}) for paths in ([], [str(site)]))
    assert plain.identity != given.identity
    assert probe(given)["packages"]["beside"] == "1.0"
    assert "beside" not in probe(plain)["packages"]
    log = tmp_path / "log"
    with running(
        given.argv(["-c", "import beside, sys; print(beside.place, '/nowhere' in sys.path)"], {}), {}, log
    ) as child:
        assert wait(child) == 0
    assert log.read_text().split() == [str(ROOT / "engines/runtime/cache.py"), "False"]
    with pytest.raises(EnvironmentFailed, match="environment 'vllm-cpu': /no/site of `site` is not a folder"):
        resolve("vllm-cpu", {"python": sys.executable, "site": ["/no/site"]})
    odd = tmp_path / "py=3"
    odd.symlink_to(sys.executable)
    with pytest.raises(EnvironmentFailed, match="has a '=' in its path, which `site` cannot take"):
        resolve("vllm-cpu", {"python": str(odd), "site": [str(site)]})


def test_an_interpreter_that_is_none() -> None:
    with pytest.raises(EnvironmentFailed, match="/no/python is not an executable interpreter"):
        resolve("vllm-cpu", {"python": "/no/python"})


def test_an_interpreter_that_breaks() -> None:
    with pytest.raises(EnvironmentFailed, match="environment 'vllm-cpu' does not run"):
        probe(resolve("vllm-cpu", {"python": "/bin/false"}))


def test_a_container_needs_a_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match="needs docker or podman"):
        resolve("vllm-cpu", {"image": "vllm/vllm-openai:v0.32.0"})


def _tool(file: Path, monkeypatch: pytest.MonkeyPatch, text: str = "echo sha256:0") -> None:
    """What is asked for the digest of an image, as the only program there is."""
    image_identity.cache_clear()
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(file.parent))


def test_a_container_needs_its_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _tool(tmp_path / "podman", monkeypatch, "exit 1")
    words = "environment 'vllm-cpu': image some/image:1 is not on this machine.* Run `podman pull some/image:1`"
    with pytest.raises(EnvironmentFailed, match=words):
        resolve("vllm-cpu", {"image": "some/image:1"})


def test_a_container_gets_mounts_and_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _tool(tmp_path / "podman", monkeypatch)
    command = resolve("vllm-cpu", {"image": "some/image:1"}).argv(["-m", "x"], {"KEY": "planted"})
    assert command[:3] + command[-3:] == ["podman", "run", "--rm", "some/image:1", "-m", "x"]
    variables = {after for before, after in zip(command, command[1:], strict=False) if before == "--env"}
    assert variables == {"KEY", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS"}
    assert "planted" not in " ".join(command)  # others read command lines
    assert f"--volume={ROOT}:{ROOT}:ro" in command
    assert "--network=host" in command  # where its server listens on the loopback address


@pytest.mark.parametrize(
    ("tool", "given", "wanted"),
    [
        ("docker", {"gpus": [0, 2]}, ['--gpus="device=0,2"']),
        ("podman", {"gpus": [0, 2]}, ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=2"]),
        ("docker", {}, []),
        ("docker", {"mounts": ["/models:/models:ro"]}, ["--volume=/models:/models:ro"]),
    ],
)
def test_a_container_gets_the_gpus_and_mounts_that_are_named(
    tool: str, given: dict[str, list[object]], wanted: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _tool(tmp_path / tool, monkeypatch)
    plain = resolve("ollama", {"image": "ollama/ollama:1"})
    environment = resolve("ollama", {"image": "ollama/ollama:1", **given})
    assert sorted(set(environment.command) - set(plain.command)) == sorted(wanted)
    assert (environment.identity == plain.identity) == (not wanted)
    assert "--entrypoint=ollama" in environment.command


def test_settings_of_pip_are_honoured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nfind-links = /a\nextra-index-url = https://one.example\n  https://two.example\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_FIND_LINKS", "/b /c")
    settings = pip_settings()
    assert settings["find-links"] == ["/b", "/c"]
    assert settings["extra-index-url"] == ["https://one.example", "https://two.example"]
    monkeypatch.setenv("UV_FIND_LINKS", "/own")
    assert index_variables(settings)["UV_FIND_LINKS"] == "/own,/b,/c"
    assert index_variables(settings)["UV_INDEX"].split()[-2:] == settings["extra-index-url"]
    assert index_variables({}) == {}


@pytest.mark.parametrize("content", [b"x = 1\n", b"[global]\n[global]\n", b"\xff", b"[global]\nindex-url\n"])
def test_settings_of_pip_that_nobody_can_read_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "pip.conf"
    file.write_bytes(content)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    with pytest.raises(UnreadableSettings, match=r"pip\.conf: cannot be read \(.*\)\. Correct it: pip reads it too$"):
        pip_settings()


def test_settings_that_only_others_may_read_are_left_out_as_pip_leaves_them_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nfind-links = /a\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("UV_CONFIG_FILE", str(file))
    assert pip_files()[-1] == uv_files()[0] == file
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read all
    assert pip_files() == uv_files() == []


def test_pip_s_settings_are_switched_off_as_pip_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert pip_files() == []


def test_relative_paths_of_uv_s_variables_are_those_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """uv is started in another folder, where it would make `.uv-cache` in `/`, or could not."""
    monkeypatch.chdir(tmp_path)
    given = {"UV_CACHE_DIR": ".uv-cache", "UV_CONFIG_FILE": "/etc/uv.toml", "UV_FIND_LINKS": "a,file:///b,https://c/d"}
    assert absolute_paths({**given, "PATH": "bin"}) == {
        "UV_CACHE_DIR": f"{tmp_path}/.uv-cache",
        "UV_CONFIG_FILE": "/etc/uv.toml",
        "UV_FIND_LINKS": f"{tmp_path}/a,file:///b,https://c/d",
    }
    assert absolute_paths({"UV_CACHE_DIR": "", "UV_FIND_LINKS": ""}) == {}


def test_a_torch_wheel_in_find_links_is_used(tmp_path: Path) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp311.whl").touch()
    assert torch_backend({"find-links": [str(tmp_path)]}) is None
    expected = os.environ.get("UV_TORCH_BACKEND", "auto")
    assert torch_backend({"find-links": ["/nowhere"]}) == expected


def test_pins_that_are_not_met_are_named(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(
        "# c\ntorch==2.13.0\nnumpy==1.0\nPy_Yaml==6\nzope-event==6.2\nx==1 ; sys_platform == 'win32'\n"
    )
    installed = {"torch": "2.13.0+cpu", "numpy": "2.0", "py-yaml": "6", "zope.event": "6.2"}
    assert missing_pins(tmp_path / "p.txt", installed) == ["numpy==1.0 (found 2.0)"]


def test_pips_no_index_is_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://one.example")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    assert index_variables(pip_settings()) == {"UV_FIND_LINKS": str(tmp_path)}
    (tmp_path / "wanted.txt").write_text("packaging==26.3\n")
    with pytest.raises(
        EnvironmentFailed, match=r"uv pip compile failed: .*packaging was not found in the provided pack"
    ):
        run_uv("pip", "compile", "--quiet", str(tmp_path / "wanted.txt"))


@pytest.mark.parametrize("value", ["1", "true"])
def test_uv_s_files_are_not_read_where_uv_reads_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("UV_NO_CONFIG", value)
    assert uv_files() == []
