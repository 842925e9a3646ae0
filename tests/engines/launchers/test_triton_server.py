from __future__ import annotations

import sys
from pathlib import Path

from engines.launchers.triton_server import command, config, write_backends, write_repository


def test_the_repository_is_tritons(tmp_path: Path) -> None:
    write_repository(tmp_path, {"model": '/a "quoted" folder', "threads": 2}, "cpu")
    text = (tmp_path / "served" / "config.pbtxt").read_text()
    assert 'name: "served"' in text
    assert "decoupled: true" in text
    assert r'string_value: "{\"model\": \"/a \\\"quoted\\\" folder\", \"threads\": 2}"' in text
    compile((tmp_path / "served" / "1" / "model.py").read_text(), "model.py", "exec")
    assert "KIND_GPU" in config({}, "cuda")
    assert "KIND_CPU" in text


def test_the_stub_of_this_python_is_beside_the_backend(tmp_path: Path) -> None:
    stubs = tmp_path / "wheel" / "python_backend_stubs" / f"3.{sys.version_info.minor}"
    backend = tmp_path / "wheel" / "backends" / "python"
    for folder in (stubs, backend):
        folder.mkdir(parents=True)
    (stubs / "triton_python_backend_stub").write_text("stub")
    (backend / "libtriton_python.so").write_text("library")
    write_backends(tmp_path / "made", tmp_path / "wheel")
    assert (tmp_path / "made" / "python" / "triton_python_backend_stub").read_text() == "stub"
    assert (tmp_path / "made" / "python" / "libtriton_python.so").read_text() == "library"


def test_it_listens_on_loopback_alone_and_nobody_changes_it(tmp_path: Path) -> None:
    line = command(tmp_path, tmp_path, 4321, 4322)
    text = " ".join(line)
    assert "--http-address 127.0.0.1 --http-port 4321" in text
    assert "--metrics-address 127.0.0.1 --metrics-port 4322" in text
    assert "--allow-grpc false" in text
    restricted = line[line.index("--http-restricted-api") + 1]
    assert {"shared-memory", "model-repository", "logging"} <= set(restricted.partition(":")[0].split(","))
    assert restricted.endswith(":authorization=\n")  # which no request can send
