"""Generated pages of the reference: every command, every key of a plan, every part of a trial."""

from __future__ import annotations

from flows.plan.schema import Plan
from scripts.docs_site.pages import command_line, keys_of_plans, options_of_commands, parts_of_trials


def test_every_command_and_option_is_there() -> None:
    text = options_of_commands()
    for name, command in command_line().commands.items():
        assert f"## `bitfrontier {name}`" in text
        assert all(option in text for parameter in command.params for option in parameter.opts if option[:2] == "--")


def test_keys_have_what_they_may_be() -> None:
    text = keys_of_plans()
    assert all(f"| `{key}` |" in text for key in Plan.model_fields)
    assert "| `requests` | whole number from 1 | required |" in text
    assert "| `rounds` | whole number from 3" in text
    assert "| `convention` | `papers`, `strided`, `llama.cpp` | `papers` |" in text
    assert "| `environments` | names, each with [`StandIn`](#standin) |" in text


def test_parts_of_a_trial_link_to_each_other() -> None:
    text = parts_of_trials()
    assert "| `speed` | array of [`Speed`](#speed) |" in text
    assert "## `Speed`" in text
