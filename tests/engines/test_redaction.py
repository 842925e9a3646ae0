"""What is hidden in texts, in which of its forms, and what is left as it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engines import redaction
from engines.redaction import excerpt, hide_key, redacted, redacted_texts

KEY = 'k9"x y/ü8'


@pytest.fixture(autouse=True)
def _no_keys_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_keys_in_use", set())


@pytest.mark.parametrize(
    "text",
    [
        "https://user:p4@ss-w0rd@host/simple",
        "https://host/simple?x=1&token=p4@ss-w0rd&y=2",
        "docker run --env HF_TOKEN=p4@ss-w0rd image",
        "{'api_key': 'p4@ss-w0rd', 'model': 'm'}",
        "{'api_key': ['p4@ss-w0rd']}",
        'it said {\\"api_key\\": \\"p4@ss-w0rd\\"}',
        '{"token": "p4@ss-w0rd"}',
        "access_token: p4@ss-w0rd",
        "serve --api-key p4@ss-w0rd",
        "serve --hf-token=p4@ss-w0rd",
        "serve --token p4@ss-w0rd",
        "Authorization: Basic cDRAc3Mtdzsss-w0rd==",
    ],
)
def test_no_form_of_a_key_is_written(text: str) -> None:
    assert "ss-w0rd" not in redacted(text)
    assert "(hidden)" in redacted(text)


@pytest.mark.parametrize("name", ["SOME_KEY_ID", "keyring", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "DB_PASSWORD_1"])
def test_values_of_variables_that_are_called_secrets_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "eight888")
    assert redacted("it was eight888.") == "it was (hidden)."


@pytest.mark.parametrize(
    "text", [KEY, f"b'{KEY}\\n'", 'k9\\"x y/\\u00fc8', 'k9\\"x y/ü8', "k9%22x%20y%2F%C3%BC8", "a" + KEY + "b"]
)
def test_a_key_in_use_is_hidden_as_errors_write_it(text: str) -> None:
    hide_key(KEY + "\n")
    assert "x y" not in redacted(text)
    assert "x%20y" not in redacted(text)


@pytest.mark.parametrize(
    "text", ["sk+a/b&amp;c&lt;d=", "sk%2ba%2fb%26c%3cd%3d", "sk%2Ba/b%26c%3Cd%3D", "sk+a\\/b&c<d="]
)
def test_a_key_is_hidden_as_pages_and_addresses_of_servers_write_it(text: str) -> None:
    hide_key("sk+a/b&c<d=")
    assert redacted(f"refused: {text}.") == "refused: (hidden)."


def test_a_key_of_several_lines_is_hidden_where_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_KEY", "-----BEGIN\nplanted\nEND-----\n")
    assert redacted("refused -----BEGIN planted END-----") == "refused (hidden)"


def test_a_key_is_hidden_before_a_text_is_cut() -> None:
    hide_key("sk-planted-key")
    assert excerpt("x" * 290 + " sk-planted-key") == "x" * 290 + " (hidden)"
    assert "sk-" not in excerpt("x" * 295 + " sk-planted-key")


def test_texts_are_hidden_wherever_they_are_nested() -> None:
    hide_key("sk-planted-key")
    text = {"sk-planted-key": ["sk-planted-key", 7, None, ("sk-planted-key", {"deep": "a sk-planted-key b"})]}
    assert redacted_texts(text) == {"sk-planted-key": ["(hidden)", 7, None, ("(hidden)", {"deep": "a (hidden) b"})]}


@pytest.mark.parametrize(
    "text",
    [
        "prompt_tokens=64, output_tokens: 16",
        "Unexpected token: '<'",
        "the model has no pad_token: None",
        "VLLM_API_KEY=$BITFRONTIER_KEY vllm serve --api-key $BITFRONTIER_KEY",
        "time per output token: 12.5 ms, mean seconds per token=0.021",
        "EOT token        = 151645",
        "cls_token='[CLS]' image_token: x \"mask_token\": 5 invalid_token: x",
        "--stop-token=5 --stop-token=five",
        '{"token": 5, "id_token": [5, 6]}',
        "Basic usage, Basic authentication",
        "none of these",
    ],
)
def test_what_is_no_key_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "none")  # a short word is no secret
    hide_key("EMPTY")
    assert redacted(text) == text


@pytest.mark.parametrize("word", ["ollama", "EMPTY", "disabled", "password", "12345678"])
def test_words_and_numbers_are_no_keys(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_MODE", word)
    hide_key(word)
    assert redacted(f"it is {word}") == f"it is {word}"


@pytest.mark.parametrize("key", ["abcdefghijklmnop", "1234567890123456", "disable1"])
def test_long_letters_and_mixed_ones_are_keys(key: str) -> None:
    hide_key(key)
    assert redacted(f"it is {key}") == "it is (hidden)"


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS"])
def test_variables_of_a_tokenizer_are_no_secrets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "eight888")
    assert redacted("it was eight888.") == "it was eight888."


@pytest.mark.parametrize("repeated", ["a", "-", "token", "a://", "a-", "://@", "secret ", "hf_token=["])
def test_long_texts_take_no_quadratic_time(repeated: str) -> None:
    start = time.perf_counter()
    redacted(repeated * (300_000 // len(repeated)))
    assert time.perf_counter() - start < 1


def test_of_a_body_only_what_an_excerpt_may_show_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def redacted_as_it_is(text: str) -> str:
        seen.append(len(text))
        return text

    monkeypatch.setattr(redaction, "redacted", redacted_as_it_is)
    assert excerpt("x" * 1_000_000, 100) == "x" * 100
    assert seen == [100 + redaction.LOOK_AHEAD]


def test_where_a_key_lies_and_who_wrote_it_is_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSH_KEY_FOLDER", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "A Person")
    assert redacted(f"{tmp_path} by A Person") == f"{tmp_path} by A Person"


def test_what_is_redacted_stays_so() -> None:
    hide_key("sk-planted-key")
    once = redacted("https://u:p@host Bearer abc api_key: sk-planted-key")
    assert redacted(once) == once


@pytest.mark.parametrize(
    "text",
    [
        r"sk\u002Ba\u002fb\u0026c\u003cd=",  # .NET's and Go's JSON
        r"sk\u002Ba/b&c\u003Cd\u003D",
        r"sk\\u002Ba/b\\u0026c\\u003cd=",  # JSON in JSON
        "sk&#43;a/b&amp;c&lt;d=",  # Go's templates
        "sk&#x2B;a&#x2F;b&#38;c&#060;d&#61;",
        "sk%2Ba/b&c<d%3d",
    ],
)
def test_a_key_is_hidden_whatever_of_it_is_escaped(text: str) -> None:
    hide_key("sk+a/b&c<d=")
    assert redacted(f"refused: {text}.") == "refused: (hidden)."
