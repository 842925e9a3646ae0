"""Recorded arrivals: what files say, what they cannot say, and what is sent of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.data.local_root import DataError
from evals.load.arrivals import due_seconds
from evals.load.prompts import Prompts
from evals.load.traces import TraceRequest, known_share, read_trace
from evals.load.warm_up import warm_up
from evals.schema.load import LoadPoint

ROW: dict[str, Any] = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]}
LOAD = LoadPoint(None, 3, 600, 5, 1.0, "trace", trace="t.jsonl", trace_speedup=2.0)
TRACE = (
    TraceRequest(1, 10.0, 600, 5, (0, 1)),
    TraceRequest(2, 10.0, 1100, 1, (0, 1, 2)),
    TraceRequest(3, 13.0, 40, 4),
    TraceRequest(4, 14.0, 40, 4),
)


def _write(folder: Path, *rows: object) -> Path:
    file = folder / "trace.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return file


def test_mooncakes_lines_are_read(tmp_path: Path) -> None:
    plain = {"timestamp": 1500.5, "input_length": 3, "output_length": 1}
    file = _write(tmp_path, ROW, "", plain, {**plain, "hash_ids": []})
    assert read_trace(file) == (
        TraceRequest(1, 0.0, 600, 5, (7, 8)),
        TraceRequest(3, 1.5005, 3, 1),
        TraceRequest(4, 1.5005, 3, 1),
    )
    assert len(read_trace(file, 2)) == 2


@pytest.mark.parametrize("zone", ["", "+00:00"])
def test_azures_rows_are_read(tmp_path: Path, zone: str) -> None:
    file = tmp_path / "trace.csv"
    rows = [f"2023-11-16 18:17:03.9799600{zone},4808,10", f"2023-11-17 00:17:04.2299600{zone},3180,8"]
    file.write_text("\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    first, second = read_trace(file)
    assert (first.line, first.prompt_tokens, first.output_tokens, first.blocks) == (2, 4808, 10, ())
    assert second.at_seconds - first.at_seconds == pytest.approx(6 * 3600 + 0.25, abs=1e-5)


WRONG: dict[str, tuple[object, str]] = {
    "no JSON": ("{", 'not a line of JSON with "timestamp", "input_length" and "output_length"'),
    "no object": ([1], "not a line of JSON with"),
    "no timestamp": ({"input_length": 3, "output_length": 1}, "not a line of JSON with"),
    "a timestamp in words": ({**ROW, "timestamp": "noon"}, "its timestamp is 'noon'; give milliseconds"),
    "a timestamp that is none": ({**ROW, "timestamp": float("nan")}, "its timestamp is nan; give milliseconds"),
    "unsorted": ({**ROW, "timestamp": -1}, "it is earlier than the request above; sort the trace by time"),
    "nothing asked": ({**ROW, "input_length": 0}, "it has 0 prompt tokens; at least one is needed"),
    "nothing answered": ({**ROW, "output_length": 0}, "it has 0 output tokens; at least one is needed"),
    "half a token": ({**ROW, "output_length": 1.5}, "it has 1.5 output tokens; at least one is needed"),
    "a block without a name": ({**ROW, "hash_ids": [1, "b"]}, "its hash_ids are not a list of whole numbers"),
    "blocks that are none": ({**ROW, "hash_ids": 3}, "its hash_ids are not a list of whole numbers"),
    "too few blocks": ({**ROW, "hash_ids": [1]}, "it has 1 hash_ids for 600 prompt tokens; one is needed for each 512"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_line_is_named(tmp_path: Path, name: str) -> None:
    row, message = WRONG[name]
    file = _write(tmp_path, ROW, row)
    with pytest.raises(DataError) as caught:
        read_trace(file)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("row", ["yesterday,1,2", "2023-11-16 18:17:03,x,2", "2023-11-16 18:17:03,1"])
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{row}\n")
    with pytest.raises(DataError, match=r"trace\.csv:2: not a row of TIMESTAMP, ContextTokens and GeneratedTokens"):
        read_trace(file)


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no requests"):
        read_trace(_write(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        read_trace(tmp_path / "none.jsonl")


def test_equal_blocks_are_equal_tokens_in_one_repeat() -> None:
    prompts = Prompts(range(100, 5000), traces={"t.jsonl": TRACE})
    drawn = prompts.draw(LOAD, seed=0, repeat=0)
    assert [(len(ask.prompt), ask.output_tokens) for (ask,) in drawn] == [(600, 5), (1100, 1), (40, 4)]
    first, second, third = (ask.prompt for (ask,) in drawn)
    assert first == second[:600]
    assert len(set(second)) > 900  # no block is another's
    assert third != second[:40]
    assert drawn == prompts.draw(LOAD, seed=0, repeat=0)
    for other in (prompts.draw(LOAD, seed=0, repeat=1), prompts.draw(LOAD, seed=1, repeat=0)):
        assert all(a.prompt[:16] != b.prompt[:16] for (a,), (b,) in zip(drawn, other, strict=True))


def test_what_a_server_puts_before_a_recorded_prompt_is_counted() -> None:
    prompts = Prompts(range(100, 5000), before=[1, 2], traces={"t.jsonl": TRACE})
    first, second, third = (ask.prompt for (ask,) in prompts.draw(LOAD, seed=0, repeat=0))
    assert first == second[:600]
    assert [len(prompt) for prompt in (first, second, third)] == [600, 1100, 40]
    assert {tuple(prompt[:2]) for prompt in (first, second, third)} == {(1, 2)}


def test_the_times_are_the_traces_own_in_every_repeat() -> None:
    for repeat in (0, 1):
        assert due_seconds(LOAD, seed=0, repeat=repeat, trace=TRACE) == [0.0, 0.0, 1.5]


def test_what_an_endless_prefix_cache_would_know() -> None:
    assert known_share(TRACE) == pytest.approx(600 / 1780)  # of the second, what the first one had
    swapped = (TRACE[0], TraceRequest(2, 0.0, 1024, 1, (1, 0)))
    assert known_share(swapped) == 0.0  # the same blocks in another order are no prefix
    assert known_share((TRACE[1], TRACE[0])) == pytest.approx(600 / 1700)


@pytest.mark.parametrize(("prompt", "output", "longest"), [(600, 5, 601), (3, 9, 10)])
def test_a_warm_up_is_no_longer_than_the_longest_request(prompt: int, output: int, longest: int) -> None:
    """The longest prompt may have an answer of one token, the longest answer a prompt of one."""
    load = LoadPoint(None, 20, prompt, output, 1.0, "trace", trace="t.jsonl")
    assert warm_up(load).longest_tokens <= longest
    assert warm_up(load).concurrency == 4


def test_a_byte_order_mark_and_separators_of_unicode_are_no_lines(tmp_path: Path) -> None:
    row = json.dumps({**ROW, "note": "a\u2028b\x85c"}, ensure_ascii=False)
    (tmp_path / "trace.jsonl").write_bytes(f"\ufeff{row}\n{row}\n".encode())
    assert [request.line for request in read_trace(tmp_path / "trace.jsonl")] == [1, 2]
    table = "\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03,4808,10\r\n"
    (tmp_path / "trace.CSV").write_bytes(table.encode())
    assert read_trace(tmp_path / "trace.CSV")[0].prompt_tokens == 4808


def test_semicolons_between_columns_are_named(tmp_path: Path) -> None:
    """What Excel saves as CSV where the comma is the decimal sign."""
    table = "\ufeffTIMESTAMP;ContextTokens;GeneratedTokens\r\n2023-11-16 18:17:03;4808;10\r\n"
    (tmp_path / "trace.csv").write_bytes(table.encode())
    with pytest.raises(DataError, match=r"trace\.csv:1: semicolons separate its columns; save it with commas"):
        read_trace(tmp_path / "trace.csv")
