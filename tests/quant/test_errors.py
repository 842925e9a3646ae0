from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split

import quant.errors
from quant.errors import (
    REMEDIES,
    BitfrontierError,
    CellFailure,
    counted,
    is_failure,
    one_line,
    program,
    reading,
    remedy_of,
    without_controls,
)

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("quant", "engines", "evals", "reports", "flows")
BUILTIN = {"Exception", "BaseException", "RuntimeError", "ValueError", "OSError", "KeyError", "ImportError"}


def _error_classes() -> dict[str, tuple[str, str]]:
    """Of each error class of the five packages that is not private: its base, and its module."""
    bases = {}
    for file in (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and node.bases and not node.name.startswith("_"):
                name = ast.unparse(node.bases[0])
                bases[node.name] = (name, ".".join(file.relative_to(ROOT).with_suffix("").parts))
    errors, before = dict.fromkeys(BUILTIN, ("", "")), 0
    while len(errors) != before:
        before = len(errors)
        errors |= {name: place for name, place in bases.items() if place[0] in errors}
    return {name: place for name, place in errors.items() if place[0]}


def _tree() -> str:
    classes, below = _error_classes(), defaultdict(list)
    for name, (base, _) in classes.items():
        below[base].append(name)

    def lines(name: str, indent: str) -> list[str]:
        module = classes[name][1]
        return [
            f"{indent}{name:<{36 - len(indent)}}{module}",
            *(line for child in sorted(below[name]) for line in lines(child, f"{indent}    ")),
        ]

    return "\n".join(lines("BitfrontierError", "    "))


def test_every_error_is_in_the_tree_of_the_docstring() -> None:
    strangers = {name for name, (base, _) in _error_classes().items() if base in BUILTIN} - {"BitfrontierError"}
    assert not strangers, "these are no BitfrontierError"
    assert _tree() in (quant.errors.__doc__ or ""), f"draw this tree in quant/errors.py:\n{_tree()}"


@pytest.mark.parametrize("kind", REMEDIES)
def test_every_remedy_is_a_line(kind: str) -> None:
    remedy = REMEDIES[kind]  # type: ignore[index]
    assert remedy.strip()
    assert "\n" not in remedy


def test_a_failure_is_data() -> None:
    failure = CellFailure("no answer for 5 s", kind="timeout", log_tail="last words")
    assert (failure.kind, failure.cause, failure.remedy) == ("timeout", "no answer for 5 s", REMEDIES["timeout"])
    assert failure.shown == "error: no answer for 5 s\nend of the log:\nlast words"
    assert CellFailure("x").kind == "other"


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_error_in_one_line() -> None:
    assert one_line(BitfrontierError("ours:\n  two lines")) == "ours: two lines"
    assert one_line(_raised(RuntimeError("theirs"))) == "RuntimeError: theirs"
    here = rf"at {__file__}:"
    assert one_line(_raised(KeyError("n_ctx"))).startswith(f"KeyError: 'n_ctx' {here}")
    try:
        assert not REMEDIES
    except AssertionError as error:
        empty = AssertionError().with_traceback(error.__traceback__)
    assert one_line(empty).startswith(f"AssertionError {here}")
    assert one_line(empty).endswith("`assert not REMEDIES`")
    assert one_line(AssertionError()) == "AssertionError"


class _Unreadable(BitfrontierError):
    pass


class PanicException(BaseException):
    """What a library in Rust raises for a defect of its own."""


@pytest.mark.parametrize(
    "error",
    [KeyError("a"), RecursionError(), MemoryError(), UnicodeError("x\ny\x1b[2J"), OSError(5), PanicException("over")],
)
def test_whatever_a_reader_raises_is_one_line(error: BaseException) -> None:
    words = rf"^file\.json: is none \({type(error).__name__}:?.*\)\. Mend it$"
    with pytest.raises(_Unreadable, match=words) as caught, reading("file.json", _Unreadable, "Mend it", "is none"):
        raise error
    assert caught.value.__cause__ is error
    assert "\x1b" not in str(caught.value)


def test_an_interruption_passes_a_reader() -> None:
    with pytest.raises(KeyboardInterrupt), reading("file.json", _Unreadable, "Mend it"):
        raise KeyboardInterrupt


def test_a_tokenizer_whose_expression_takes_too_long_fails() -> None:
    """As its maker may have meant it."""
    tokenizer = Tokenizer(BPE({"a": 0, "b": 1}, []))
    tokenizer.pre_tokenizer = Split(Regex("(a+)+$"), "isolated")
    with pytest.raises(BaseException, match="retry-limit") as raised:
        tokenizer.encode("a" * 60 + "b")
    assert is_failure(raised.value)
    assert not is_failure(KeyboardInterrupt())


def test_an_error_for_people_passes_a_reader() -> None:
    with pytest.raises(CellFailure, match=r"^known$"), reading("file.json", _Unreadable, "Mend it"):
        raise CellFailure("known")


def test_control_characters_are_shown() -> None:
    assert without_controls("\x1b[2J\x9b31m\x07é\n\t\ud800") == "\\x1b[2J\\x9b31m\\x07é\n\t\\ud800"


def test_a_count_has_its_noun() -> None:
    assert [counted(number, "cell") for number in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_commands_for_people_run_where_uv_started_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    assert program() == "bitfrontier"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert program() == "uv run bitfrontier"
    assert "(`uv run bitfrontier doctor` shows how much)" in remedy_of("full-disk")
