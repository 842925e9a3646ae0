"""Plans that cannot be read at all: YAML at its edges, other bytes, pipes, folders, paths that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows.plan.source import PlanError, load_plan


def _bomb(end: bytes) -> bytes:
    """Nine lines of aliases that stand for 10^9 values."""
    names = "abcdefghi"
    lines = [
        "a: &a [x, x]",
        *(f"{n}: &{n} [{', '.join([f'*{before}'] * 10)}]" for before, n in zip(names, names[1:], strict=False)),
    ]
    return "\n".join(lines).encode() + b"\n" + end


UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "no such file": (None, "no such file"),
    "empty": (b"", "the plan is empty"),
    "a list": (b"- a\n- b\n", "the plan is empty, or is not a mapping of keys to values"),
    "broken YAML": (b"name: [a\nmodels: b\n", "not valid YAML"),
    "a key twice": (b"name: a\nname: b\n", ':2: not valid YAML: found duplicate key "name"\n  fix: keep one of them'),
    "not text": (b"\xff\xfe\x00\x80", "cannot be read"),
    "a key that is a list": (b"? [name]\n: a\n", "keys should be strings"),
    "aliases of aliases": (_bomb(b"name: *i\n"), "its aliases expand to more than 100000 values"),
    "a key twice, with aliases of aliases": (_bomb(b"name: x\nname: *i\n"), 'found duplicate key "name"'),
    "an impossible date": (b"name: 2026-02-31\n", "'2026-02-31' is no value"),
    "a number without digits": (b"seed: 0x_\n", "'0x_' is no value"),
    "a character that is none": (b'name: "\\U00110000"\n', "its YAML: cannot be read (ValueError"),
    "5,000 digits": (b"seed: " + b"1" * 5000, "is no value"),
    "a number of 16,000 bits": (b"seed: 0x" + b"1" * 4000, "seed: a whole number of 15997 bits is too large"),
    "a seed of 10^20": (b"seed: 100000000000000000000\n", "is too large (at most 9007199254740991)"),
    "a NUL": (b'models: ["a\\0b"]\n', r"models[0]: the text holds control characters: 'a\x00b'"),
    "a change of direction": (b'name: "a\\u202eb"\n', "name: the text holds control characters: 'a\\u202eb'"),
    "an escape": (b'name: "\\e[2J"\n', r"name: the text holds control characters: '\x1b[2J'"),
    "an alias to itself": (b"name: &a [*a]\n", "an alias contains itself"),
    "nested deeply": (b"name: " + b"[" * 100_000, "it is nested too deeply"),
    "2 MB": (b"#" * 2_000_000, "it has 2000000 bytes (at most 1048576)"),
    "a tag": (b"name: !!python/object:os.system {}\n", "not valid YAML"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_plan(tmp_path: Path, name: str) -> None:
    content, message = UNREADABLE[name]
    file = tmp_path / "plan.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        load_plan(file)
    assert message in str(caught.value)
    assert "fix:" in str(caught.value)


def test_a_folder_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="this is a folder"):
        load_plan(tmp_path)


IMPOSSIBLE = {
    "an impossible date": (
        "name: 2026-11-31\ndevice: cpu\n",
        r":1: not valid YAML: '2026-11-31' is no value: .*\n  fix: write \"2026-11-31\" in",
    ),
    "a number without digits": ("name: a\nseed: 0x_\n", r":2: not valid YAML: '0x_' is no value: "),
    "an alias of itself": ("a: &a [*a]\nname: x\n", r":1: not valid YAML: an alias contains itself"),
    "a plan that holds itself": ("&a {name: *a}", r":1: its aliases expand to more than 100000 values"),
    "an alias of nothing": ("name: x\nseed: *a\n", r":2: not valid YAML: found undefined alias 'a'"),
    "two plans": ("name: x\n---\nname: y\n", r":2: not valid YAML: but found another document"),
    "a NUL": ("name: \0\n", r":1: not valid YAML: unacceptable character #x0000"),
    "aliases of aliases": (
        "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]\n" for i in range(12)),
        r"its aliases expand to more than 100000 values",
    ),
    "too deep": ("a: " + "[" * 1000 + "]" * 1000, r"it is nested too deeply"),
    "too many digits": ("name: x\nseed: " + "9" * 5000, r":2: not valid YAML: '9+' is no value: "),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_values_that_yaml_itself_stumbles_over_are_errors_of_the_plan(tmp_path: Path, name: str) -> None:
    text, message = IMPOSSIBLE[name]
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(PlanError, match=message):
        load_plan(file)


def test_a_pipe_is_no_plan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plan.yaml")
    with pytest.raises(PlanError, match="it is not a regular file"):
        load_plan(tmp_path / "plan.yaml")


def test_a_path_of_300_characters_is_no_plan() -> None:
    with pytest.raises(PlanError, match="File name too long"):
        load_plan(Path("x" * 300))
