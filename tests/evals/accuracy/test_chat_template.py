from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.accuracy import chat_template
from evals.accuracy.chat_template import ChatTemplateError, render, special_tokens, template_of

CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
ASK = [{"role": "user", "content": "2 + 2?"}]
OPEN = [*ASK, {"role": "assistant", "content": "The answer is "}]


def _rendered(template: str, history: list[dict[str, str]] = ASK) -> str:
    return render(template, {}, history, add_generation_prompt=True)


def _write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_chatml() -> None:
    assert _rendered(CHATML) == (
        "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_template_like_llama_3s_has_the_fixed_date() -> None:
    history = [{"role": "system", "content": " Be brief. "}, *ASK]
    text = render(LLAMA, {"bos_token": "<|begin_of_text|>"}, history, add_generation_prompt=True)
    assert text == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2 + 2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_the_final_message_is_left_open() -> None:
    text = render(CHATML, {}, OPEN, add_generation_prompt=False)
    assert text.endswith("<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\nThe answer is ")


def test_a_template_that_trims_ends_the_open_message_without_its_space() -> None:
    text = render(LLAMA, {"bos_token": ""}, OPEN, add_generation_prompt=False)
    assert text.endswith("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nThe answer is")


def test_the_history_is_left_as_it_was() -> None:
    render(CHATML, {}, OPEN, add_generation_prompt=False)
    assert OPEN[-1] == {"role": "assistant", "content": "The answer is "}


@pytest.mark.parametrize(
    ("template", "history", "message"),
    [
        (CHATML, [], "there is no message to render"),
        (CHATML, [{"role": "assistant"}], "the final message has no content to continue"),
        ("{{ messages|length }}", OPEN, "does not read the content of a message"),
        ("{{ messages[0].content }}", OPEN, "drops or changes the final message"),
        ("{{ messages[1].content|upper }}", OPEN, "drops or changes the final message"),
    ],
)
def test_what_cannot_be_continued_is_refused(template: str, history: list[dict[str, str]], message: str) -> None:
    with pytest.raises(ChatTemplateError, match=message):
        render(template, {}, history, add_generation_prompt=False)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('Roles must alternate!') }}", "fails with TemplateError: Roles must alternate!"),
        ("{% for message in messages %}", "fails with TemplateSyntaxError: Unexpected end of template"),
        ("{{ nothing + 'a' }}", "fails with UndefinedError: 'nothing' is undefined"),
        ("{{ 1 / 0 }}", "fails with ZeroDivisionError: division by zero"),
        ("{% include '/etc/hostname' %}", "fails with TypeError: no loader"),
    ],
)
def test_a_template_that_fails_says_why(template: str, message: str) -> None:
    with pytest.raises(ChatTemplateError, match=message):
        _rendered(template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ (''|attr('__class__')).mro() }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ '{0.__class__.__mro__}'.format('') }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ lipsum.__globals__['os'] }}", "access to attribute '__globals__' of 'function' object is unsafe"),
        ("{{ strftime_now.__self__.year }}", "access to attribute '__self__' of 'builtin_function_or_method' object"),
        ("{{ messages.append(1) }}", "access to attribute 'append' of 'list' object is unsafe"),
        ("{{ dict.update(messages[0], role='system') }}", "has no attribute 'update'"),
        ("{{ namespace(__class__=1) }}", "SecurityError: a chat template may not set '__class__' on a namespace"),
        ("{% set n = namespace() %}{% set n._a = 1 %}", "SecurityError: a chat template may not set '_a'"),
    ],
)
def test_the_sandbox_refuses_a_way_out(template: str, message: str) -> None:
    with pytest.raises(ChatTemplateError, match=message):
        _rendered(template)


@pytest.fixture
def _two_seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 2.0)
    chat_template._process.cache_clear()
    yield
    chat_template._process.cache_clear()


@pytest.mark.usefixtures("_two_seconds")
@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "was not done after 2 s"),
        ("{% set x = 3 ** (3 ** (3 ** 3)) %}", "was not done after 2 s"),  # one call that no Python code interrupts
        ("{{ 'x' * 10 ** 9 }}", "needs more than 512 MiB of memory"),
        ("{{ '\\ud800' }}", "fails with UnicodeEncodeError: "),
        ("{{ 'x' * (5 * 10 ** 6) }}", "makes a text that is too long: 5000000 characters "),
        ("{% for a in range(99999) %}{{ 'x' * 99999 }}{% endfor %}", "needs more than 512 MiB of memory"),
        ("{{ raise_exception('x' * 10 ** 7) }}", "fails with TemplateError: x{274}$"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "fails with RecursionError"),
    ],
)
def test_a_template_takes_no_more_time_and_memory_than_it_has(template: str, message: str) -> None:
    started, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ChatTemplateError, match=message):
        _rendered(template)
    assert time.monotonic() - started < 6  # most of it is the start of the process on a busy machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 * 1024
    assert _rendered("{{ messages[0].content }}") == "2 + 2?"


@pytest.mark.usefixtures("_two_seconds")
def test_a_template_whose_process_is_ended_fails() -> None:
    chat_template._process().kill()
    with pytest.raises(ChatTemplateError, match="the chat template ended its process with exit code -9"):
        _rendered(CHATML)
    assert _rendered("{{ messages[0].content }}") == "2 + 2?"


def test_what_templates_use_beside_plain_jinja() -> None:
    assert (
        _rendered("{{ messages[0]|tojson }}", [{"role": "user", "content": "<é>"}])
        == '{"role": "user", "content": "<é>"}'
    )
    assert _rendered("{{ {'b': 1, 'a': [2]}|tojson(indent=1, sort_keys=true) }}") == '{\n "a": [\n  2\n ],\n "b": 1\n}'
    assert _rendered("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}") == "2024-07-26 00:00:00"
    assert _rendered("{% for one in range(9) %}{% if one == 2 %}{% break %}{% endif %}{{ one }}{% endfor %}") == "01"
    assert _rendered("{% generation %}{{ messages[0].content }}{% endgeneration %}|") == "2 + 2?|"
    assert _rendered("{{ dict(a=1).a }}{{ dict.fromkeys(['b'], 2).b }}") == "12"
    assert (
        _rendered("{% set n = namespace({'a': 1}, self=2) %}{% set n.b = 3 %}{{ n.a }}{{ n.self }}{{ n.b }}") == "123"
    )


def test_a_file_of_its_own_comes_before_the_config(tmp_path: Path) -> None:
    assert template_of(tmp_path) is None
    assert template_of(_write(tmp_path, {})) is None
    assert template_of(_write(tmp_path, {"chat_template": "config"})) == "config"
    (tmp_path / "chat_template.jinja").write_text("file é", encoding="utf-8")
    assert template_of(tmp_path) == "file é"


def test_of_a_list_of_templates_the_default_counts(tmp_path: Path) -> None:
    tools = {"name": "tool_use", "template": "tools"}
    assert template_of(_write(tmp_path, {"chat_template": [tools]})) is None
    listed = [tools, {"name": "default", "template": "plain"}]
    assert template_of(_write(tmp_path, {"chat_template": listed})) == "plain"


def test_special_tokens_are_texts(tmp_path: Path) -> None:
    assert special_tokens(tmp_path) == {}
    bos = {"__type": "AddedToken", "content": "<s>", "lstrip": False}
    config = {"bos_token": bos, "eos_token": "</s>", "pad_token": None, "add_bos_token": True}
    assert special_tokens(_write(tmp_path, config)) == {"bos_token": "<s>", "eos_token": "</s>"}
