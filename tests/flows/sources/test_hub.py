"""Models, checkpoints and data sets of a hub on the loopback address: each failure is one line with its own cause."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.sources.hub
from engines.runtime.environments import resolve
from flows.sources import hub as client
from flows.sources.checkpoints import fetch_stored, find_stored
from flows.sources.hub import Repository
from flows.sources.model_facts import look_up_model
from flows.sources.models import Model, prepare_model
from flows.sources.samples import SourceError
from tests.support.checkpoints import write_safetensors
from tests.support.fake_sweep import install
from tests.support.hub_server import TOKEN, Hub, commit_of, serving, use

NAME = "hub:nice/tiny"


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    install(monkeypatch.setattr)
    served = Hub()
    served.add_folder("nice/tiny", tiny_model)
    with serving(served) as address:
        use(monkeypatch, address, tmp_path / "hf")
        yield served


def _prepare(text: str = NAME) -> Model:
    return prepare_model(look_up_model(text, Path()), resolve("transformers", {"python": sys.executable}))


def _refusal(text: str = NAME) -> str:
    with pytest.raises(SourceError) as raised:
        look_up_model(text, Path())
    line = str(raised.value)
    assert "\n" not in line
    return line


def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "hf", offline=True)


def test_a_models_facts_are_known_before_its_weights_are_fetched(hub: Hub) -> None:
    facts = look_up_model(NAME, Path())
    assert (facts.kind, facts.name, facts.location) == ("hub", "tiny", "nice/tiny")
    assert facts.widths == (96, 192)
    assert (facts.max_positions, facts.vocabulary) == (4096, 8)
    assert facts.parameters == 8 * 96 + 96 * 96 + 96 * 192 + 96
    assert facts.download_bytes > 50_000
    assert all(wanted for wanted in hub.bytes_of("model.safetensors"))  # ranges alone


def test_an_unsuitable_model_is_found_before_its_weights_are_fetched(hub: Hub) -> None:
    files = dict(hub.repositories["nice/tiny"]["main"])
    hub.add("nice/bert", {**files, "config.json": b'{"architectures": ["BertForMaskedLM"]}'})
    hub.add("nice/endless", {**files, "tokenizer_config.json": b"{}"})
    hub.add("nice/headless", {**files, "config.json": b'{"tie_word_embeddings": false}'})
    assert "no language-model head" in str(look_up_model("hub:nice/bert", Path()).unsuitable)
    assert hub.bytes_of("model.safetensors") == []
    assert "no end-of-text token" in str(look_up_model("hub:nice/endless", Path()).unsuitable)
    assert "has no weights of a language-model head" in str(look_up_model("hub:nice/headless", Path()).unsuitable)
    hub.add("nice/quantized", {**files, "config.json": b'{"quantization_config": {}}'})
    assert "is quantized already" in _refusal("hub:nice/quantized")
    assert all(hub.bytes_of("model.safetensors"))


def test_shards_are_known_by_their_headers(hub: Hub, tmp_path: Path) -> None:
    files = dict(hub.repositories["nice/tiny"]["main"])
    del files["model.safetensors"]
    names = {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}
    for width, (tensor, file) in zip((64, 128), names.items(), strict=True):
        write_safetensors(tmp_path / file, {tensor: ("BF16", (2, width), 4 * width)})
        files[file] = (tmp_path / file).read_bytes()
    files["model.safetensors.index.json"] = json.dumps({"weight_map": names}).encode()
    hub.add("nice/sharded", files)
    assert look_up_model("hub:nice/sharded", Path()).widths == (64, 128)
    del files["two.safetensors"]
    hub.add("nice/sharded", files, "broken")
    assert "its index names two.safetensors" in str(look_up_model("hub:nice/sharded@broken", Path()).unsuitable)


def test_a_revision_is_what_is_looked_at_and_fetched(hub: Hub, tiny_model: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    (tiny_model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 77}))
    hub.add_folder("nice/tiny", tiny_model, "v2")
    assert look_up_model(NAME, Path()).max_positions == 4096
    commit = commit_of(hub.repositories["nice/tiny"]["v2"])
    for revision in ("v2", commit):
        assert look_up_model(f"{NAME}@{revision}", Path()).max_positions == 77
        model = _prepare(f"{NAME}@{revision}")
        assert json.loads((model.folder / "config.json").read_text())["max_position_embeddings"] == 77


def test_a_gated_model_wants_its_licence_and_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("nice/tiny")
    refusal = _refusal()
    assert "hub model 'nice/tiny' is gated, and no token is given (HTTP 401)" in refusal
    assert "accept its licence at http://127.0.0.1:" in refusal
    assert "/nice/tiny with your account, and give its token by HF_TOKEN" in refusal
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "this token has no access to it (HTTP 403)" in _refusal()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert look_up_model(NAME, Path()).widths == (96, 192)


def test_a_model_that_is_missing_or_private(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "'nice/tyni' is not on the hub, or not one that is public (HTTP 401) (correct the name" in _refusal(
        "hub:nice/tyni"
    )
    hub.private.add("nice/tiny")
    assert "give a token by HF_TOKEN if it is private" in _refusal()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "or not one that this token may read (HTTP 404) (correct the name)" in _refusal("hub:nice/tyni")
    assert look_up_model(NAME, Path()).widths == (96, 192)


def test_a_revision_that_is_missing(hub: Hub) -> None:
    assert "hub model 'nice/tiny' has no revision 'v9' (name a branch, a tag" in _refusal(f"{NAME}@v9")


def test_a_name_that_is_none(hub: Hub) -> None:
    assert "'a/b/c' is not a hub name (write hub:organisation/name)" in _refusal("hub:a/b/c")


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_missing(hub: Hub, missing: str) -> None:
    files = dict(hub.repositories["nice/tiny"]["main"])
    del files[missing]
    hub.add("nice/part", files)
    assert f"hub model 'nice/part' has no {missing}" in _refusal("hub:nice/part")


def test_pickled_weights_alone(hub: Hub) -> None:
    hub.add("nice/pickled", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    assert "has no safetensors files (pickled weights are never loaded" in _refusal("hub:nice/pickled")


def test_weights_that_are_no_safetensors(hub: Hub) -> None:
    hub.add("nice/odd", {**hub.repositories["nice/tiny"]["main"], "model.safetensors": b"\xff" * 64})
    assert "hub model 'nice/odd' has no whole safetensors files" in _refusal("hub:nice/odd")


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {"Retry-After": "42"}, "requested too often from this address (HTTP 429) (wait 42 s and run the same"),
        (429, {}, "wait some minutes and run the same command again; with a token (HF_TOKEN) the hub allows more"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "is refused (HTTP 401)"),
        (403, {}, "is refused (HTTP 403) (give a token by HF_TOKEN"),
        (404, {}, "(HTTP 404) (correct the name, the revision or HF_ENDPOINT)"),
        (503, {}, "the hub answers HTTP 503 (try again later"),
        (200, {}, "which does not answer like a hub (correct HF_ENDPOINT, or the proxy)"),
    ],
)
def test_an_answer_that_is_an_error(hub: Hub, status: int, headers: dict[str, str], expected: str) -> None:
    hub.answers["nice/tiny"] = (status, headers)
    assert expected in _refusal()


def test_a_hub_that_is_slow_is_waited_for_and_one_that_is_too_slow_is_not(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.wait_seconds = 0.1
    assert look_up_model(NAME, Path()).widths == (96, 192)
    monkeypatch.setattr(flows.sources.hub, "ANSWER_SECONDS", 0.05)
    assert "gave no answer within 0.05 s (try again later" in _refusal("hub:nice/other")


def test_a_hub_that_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    use(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "hf")
    assert f"is not in the local cache, and the hub at http://127.0.0.1:{port} cannot be reached (check" in _refusal()


def test_what_was_fetched_is_found_offline_and_nobody_is_asked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.add("nice/tiny", {**hub.repositories["nice/tiny"]["main"], "README.md": b"x", "original/a.pth": b"x"})
    first = _prepare()
    asked = len(hub.requests)
    assert _prepare().folder == first.folder  # the same sweep again, and another one beside it
    assert len(hub.requests) == asked
    assert not (first.folder / "README.md").exists()
    _offline(monkeypatch, tmp_path)
    facts = look_up_model(NAME, Path())
    assert (facts.kind, facts.widths, facts.download_bytes) == ("hub", (96, 192), 0)
    assert _prepare().content_sha256 == first.content_sha256


def test_a_file_that_is_cut_off_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what is kept is a multiple of it
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    weights = hub.repositories["nice/tiny"]["main"]["model.safetensors"]
    facts = look_up_model(NAME, Path())
    hub.cut["model.safetensors"] = 20_000
    hub.requests.clear()
    model = prepare_model(facts, resolve("transformers", {"python": sys.executable}))
    assert (model.folder / "model.safetensors").read_bytes() == weights
    assert hub.bytes_of("model.safetensors")[1].startswith("bytes=20000-")


def test_a_download_that_broke_off_is_completed(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    size = len(hub.repositories["nice/tiny"]["main"]["model.safetensors"])
    hub.cut["model.safetensors"] = 20_000
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", _without_retries())
        with pytest.raises(
            SourceError, match=r"hub model 'nice/tiny' was interrupted .*run the same command again: complete files"
        ):
            _prepare()
    with monkeypatch.context() as patch:
        _offline(patch, tmp_path)
        assert "'nice/tiny' is only in part in the local cache, and HF_HUB_OFFLINE is set (unset" in _refusal()
    use(monkeypatch, client.Repository("nice/tiny").page.removesuffix("/nice/tiny"), tmp_path / "hf")
    hub.cut.clear()
    hub.requests.clear()
    assert (_prepare().folder / "model.safetensors").stat().st_size == size
    assert hub.bytes_of("tokenizer.json") == []  # it was there


def test_a_cache_that_somebody_else_filled_in_part_is_completed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another program asked for the configuration alone: nothing says what else the repository holds."""
    from huggingface_hub import hf_hub_download

    hf_hub_download("nice/tiny", "config.json")
    with monkeypatch.context() as patch:
        _offline(patch, tmp_path)
        assert "only in part in the local cache, and HF_HUB_OFFLINE is set" in _refusal()
    assert look_up_model(NAME, Path()).widths == (96, 192)
    assert (_prepare().folder / "model.safetensors").exists()


def test_an_offline_variable_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _offline(monkeypatch, tmp_path)
    assert "'nice/tiny' is not in the local cache, and HF_HUB_OFFLINE is set (fetch it" in _refusal()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "yes")
    assert "and TRANSFORMERS_OFFLINE is set" in _refusal()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert client.offline_variable() is None


def test_a_checkpoint_of_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = find_stored(NAME, Path())
    assert hub.bytes_of("model.safetensors") == []
    fetch_stored(stored)
    assert (stored.folder / "model.safetensors").exists()
    for text, expected in {
        "hub:nice/nothing": "hub checkpoint 'nice/nothing' is not on the hub",
        f"{NAME}@v9": "hub checkpoint 'nice/tiny' has no revision 'v9'",
    }.items():
        with pytest.raises(SourceError, match=expected):
            find_stored(text, Path())
    hub.add("nice/bare", {"model.safetensors": b"x"})
    with pytest.raises(SourceError, match=r"hub checkpoint 'nice/bare' has no config\.json"):
        find_stored("hub:nice/bare", Path())
    _offline(monkeypatch, tmp_path)
    fetch_stored(find_stored(NAME, Path()))


def test_a_data_set_of_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("datasets/nice/data", {"README.md": b"x"})
    client.require_data_set(Repository("nice/data", "data set"))
    hub.answers["datasets/nice/data"] = (429, {"Retry-After": "7"})
    with pytest.raises(SourceError, match=r"hub data set 'nice/data' was requested too often .*wait 7 s"):
        client.require_data_set(Repository("nice/data", "data set"))
    with pytest.raises(SourceError, match="hub data set 'nice/none' is not on the hub"):
        client.require_data_set(Repository("nice/none", "data set"))


def _without_retries() -> object:
    """The client asks five times for the rest of a file, with pauses."""
    from functools import partial

    from huggingface_hub import file_download

    return partial(file_download.http_get, _nb_retries=0)
