"""The hub: what of a repository is in its cache here, what is fetched from it, and why it gave nothing, in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.addresses import without_credentials
from flows.sources.samples import SourceError
from quant.checkpoints.safetensors import Tensor
from quant.errors import program

ANSWER_SECONDS = 10.0  # as the hub's own client waits
CONNECTIONS = 8
KINDS = {"model": "", "checkpoint": "", "data set": "datasets/"}  # how pages of a repository begin
ELSEWHERE = "fetch it with a network connection, or give its folder"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub as a plan names it: `organisation/name`, or `organisation/name@revision`."""

    text: str
    kind: Literal["model", "checkpoint", "data set"] = "model"

    @property
    def name(self) -> str:
        return self.text.partition("@")[0]

    @property
    def revision(self) -> str | None:
        return self.text.partition("@")[2] or None

    @property
    def page(self) -> str:
        from huggingface_hub import constants

        return f"{without_credentials(constants.ENDPOINT)}/{KINDS[self.kind]}{self.name}"

    def __str__(self) -> str:
        return f"hub {self.kind} '{self.name}'"


def offline_variable() -> str | None:
    """The variable that forbids the hub's client any request, as that reads them; None where none does."""
    given = next((name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name)), None)
    return given if given and os.environ[given].upper() in ("1", "ON", "YES", "TRUE") else None


def cached(repository: Repository, patterns: Sequence[str]) -> tuple[Path | None, bool]:
    """The folder of a repository in the hub's cache, None where none is, and whether all that the patterns name lies in
    it. Asks nobody. Raises SourceError for what is no name.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError, LocalEntryNotFoundError

    wanted: dict[str, Any] = {"revision": repository.revision, "allow_patterns": list(patterns)}
    try:
        return Path(snapshot_download(repository.name, local_files_only=True, **wanted)), True
    except HFValidationError as error:
        raise SourceError(f"'{repository.name}' is not a hub name", "write hub:organisation/name") from error
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path), False
    except LocalEntryNotFoundError:
        return None, False


def require_online(repository: Repository, *, in_part: bool = False) -> None:
    """Raises SourceError where a variable forbids to ask the hub for what is missing here."""
    if variable := offline_variable():
        remedy = (
            f"unset {variable} on a machine with a network connection, and the missing files are fetched"
            if in_part
            else ELSEWHERE
        )
        place = "only in part" if in_part else "not"
        raise SourceError(f"{repository} is {place} in the local cache, and {variable} is set", remedy)


def fetch(repository: Repository, patterns: Sequence[str]) -> Path:
    """The folder with all files that the patterns name; those that are there are not fetched again. One that is cut off
    goes on, until there is no answer any more: then the next call fetches it anew. Raises SourceError.
    """
    from huggingface_hub import snapshot_download

    with asking(repository):
        wanted: dict[str, Any] = {"revision": repository.revision, "allow_patterns": list(patterns)}
        return Path(snapshot_download(repository.name, etag_timeout=ANSWER_SECONDS, **wanted))


def file_sizes(repository: Repository) -> dict[str, int]:
    """The bytes of each file of a repository. Raises SourceError."""
    from huggingface_hub import HfApi

    with asking(repository):
        info = HfApi().model_info(
            repository.name, revision=repository.revision, files_metadata=True, timeout=ANSWER_SECONDS
        )
    return {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}


def require_data_set(repository: Repository) -> None:
    """Raises SourceError where the hub has no such data set, or gives it to nobody."""
    from huggingface_hub import HfApi

    with asking(repository):
        HfApi().dataset_info(repository.name, revision=repository.revision, timeout=ANSWER_SECONDS)


def tensors_of(repository: Repository, files: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """What the headers of safetensors files say, by file: a range of bytes is fetched of each. Raises SourceError."""
    from huggingface_hub import HfApi

    def header(file: str) -> dict[str, Tensor]:
        metadata = HfApi().parse_safetensors_file_metadata(
            repository.name, file, revision=repository.revision, timeout=ANSWER_SECONDS
        )
        return {
            name: Tensor(name, info.dtype, tuple(info.shape), info.data_offsets[1] - info.data_offsets[0])
            for name, info in metadata.tensors.items()
        }

    with asking(repository), ThreadPoolExecutor(CONNECTIONS) as pool:
        return dict(zip(files, pool.map(header, files), strict=True))


@contextmanager
def asking(repository: Repository) -> Iterator[None]:
    """Ask the hub for what is not here. Raises SourceError with the true cause of what its client raises."""
    import httpx2  # the client's own: its errors are neither OSErrors nor RuntimeErrors
    from huggingface_hub.errors import LocalEntryNotFoundError, SafetensorsParsingError

    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, SafetensorsParsingError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the command line explains it
        hidden = isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception)
        cause, remedy = _why(repository, error.__cause__ if hidden else error)
        raise SourceError(f"{repository} {cause}", remedy) from error


def _why(repository: Repository, error: BaseException | None) -> tuple[str, str]:
    """(what happened, what to do) of an error of the hub's client."""
    import httpx2
    from huggingface_hub import errors

    hub = repository.page.removesuffix(f"/{KINDS[repository.kind]}{repository.name}")
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(repository, error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"is not in the local cache, and {offline_variable() or 'HF_HUB_OFFLINE'} is set", ELSEWHERE
    if isinstance(error, errors.SafetensorsParsingError):
        return f"has no whole safetensors files ({error})"[:200], "choose another revision or repository"
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        remedy = f"check network and proxies (`{program()} doctor --site`), or {ELSEWHERE}"
        return f"is not in the local cache, and the hub at {hub} cannot be reached", remedy
    if isinstance(error, httpx2.TimeoutException):
        remedy = f"try again later, or {ELSEWHERE}"
        return f"is not in the local cache, and the hub at {hub} gave no answer within {ANSWER_SECONDS:g} s", remedy
    if isinstance(error, ValueError | errors.FileMetadataError):
        return f"cannot be fetched from {hub}, which does not answer like a hub", "correct HF_ENDPOINT, or the proxy"
    words = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    return f"was interrupted during the download ({words})", "run the same command again: complete files are kept"


def _refused(repository: Repository, error: Any) -> tuple[str, str]:
    """The same of an answer that is an error."""
    from huggingface_hub import errors, get_token

    status, token = error.response.status_code, get_token()
    access = "the account of HF_TOKEN" if token else "your account, and give its token by HF_TOKEN or `hf auth login`"
    if isinstance(error, errors.GatedRepoError):
        who = "this token has no access to it" if token else "no token is given"
        return f"is gated, and {who} (HTTP {status})", f"accept its licence at {repository.page} with {access}"
    if isinstance(error, errors.RevisionNotFoundError):
        remedy = f"name a branch, a tag or a whole commit of {repository.page}"
        return f"has no revision '{repository.revision or 'main'}'", remedy
    if isinstance(error, errors.RepositoryNotFoundError):
        readable = "that this token may read" if token else "that is public"
        remedy = "correct the name" if token else "correct the name, or give a token by HF_TOKEN if it is private"
        return f"is not on the hub, or not one {readable} (HTTP {status})", remedy
    if isinstance(error, errors.EntryNotFoundError):
        file = str(error.response.url).partition("/resolve/")[2].partition("/")[2]
        return f"has no file {file} in revision '{repository.revision or 'main'}'", "name another revision"
    if status == 429:
        seconds = error.response.headers.get("retry-after", "")
        wait = f"wait {seconds} s" if seconds.isdecimal() else "wait some minutes"
        more = "" if token else "; with a token (HF_TOKEN) the hub allows more"
        return "was requested too often from this address (HTTP 429)", f"{wait} and run the same command again{more}"
    if status in (401, 403):
        token_remedy = "renew the token, give it the right to read this repository, or unset HF_TOKEN"
        return f"is refused (HTTP {status})", token_remedy if token else "give a token by HF_TOKEN or `hf auth login`"
    if status == 404:
        return f"is not found at {repository.page} (HTTP 404)", "correct the name, the revision or HF_ENDPOINT"
    return f"is not in the local cache, and the hub answers HTTP {status}", f"try again later, or {ELSEWHERE}"
