"""What machines share: a folder, or whatever fsspec reaches (`s3://bucket/prefix`).

Files are kept by their content, `blobs/SHA256`. A manifest, `KIND/KEY.json`, names the files of a checkpoint, a trial,
a part of one or a visit, and appears when all of them are there. Everything is written beside its place and moved, so
that nobody sees half of it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import fsspec
from pydantic import Field, TypeAdapter

from engines.redaction import redacted
from quant.canonical_json import read_regular, write_json
from quant.checkpoints.model_files import check_no_code
from quant.checkpoints.safetensors import hash_file
from quant.errors import BitfrontierError, reading

T = TypeVar("T")
FileName = Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,1000}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
MANIFESTS = TypeAdapter(dict[Literal["files"], dict[FileName, Digest]])
# whoever may write into the store makes results, not the rest of a run
RECORD = "record.json"  # the only file of an order, and of a round
OF_RUNS = {
    "trials": ("trials", "parts", "logs"),
    "parts": ("trials", "parts", "logs"),
    "visits": ("parts",),
    "orders": (RECORD,),
    "rounds": (RECORD,),
}
WITH_ACCOUNTS = ("abfs", "abfss", "az", "hdfs", "sftp", "ssh")  # a name before the @ of an address


class StoreError(BitfrontierError):
    """The store cannot be used, or what is in it is not what its name says."""


@dataclass(frozen=True)
class Store:
    """A place in a file system of fsspec's, and the address that workers are given of it."""

    files: Any
    root: str
    url: str

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def has(self, name: str) -> bool:
        """True if the manifest `name` is there now, and not when somebody looked before."""
        self.files.invalidate_cache()
        return bool(self.files.exists(self._path(f"{name}.json")))

    def names(self, kind: str) -> set[str]:
        """All manifests `KIND/…` that are there now, by one listing."""
        self.files.invalidate_cache()
        try:
            files = self.files.ls(self._path(kind), detail=False)
        except FileNotFoundError:
            return set()
        return {f"{kind}/{PurePosixPath(file).stem}" for file in files if str(file).endswith(".json")}

    def publish(self, name: str, folder: Path, files: Iterable[str]) -> None:
        """Put `files`, named relative to `folder`, and their manifest when all of them are there."""
        digests = {file: hash_file(folder / file) for file in files}
        for file, sha256 in digests.items():
            if not self.files.exists(self._path(f"blobs/{sha256}")):
                self._put(folder / file, f"blobs/{sha256}")
        with tempfile.TemporaryDirectory() as scratch:
            manifest = Path(scratch) / "manifest.json"
            manifest.write_text(json.dumps({"files": digests}), encoding="utf-8")
            self._put(manifest, f"{name}.json")

    def fetch(self, name: str, folder: Path) -> list[str]:
        """Bring a manifest's files into `folder`, in their order, each whole or not at all. Raises StoreError."""
        if not self.has(name):
            raise StoreError(f"{name} is not in the store {self.root}")
        files = self._listed(name)
        for file, sha256 in files.items():
            path = PurePosixPath(file)
            if not path.parts or path.is_absolute() or ".." in path.parts:
                raise StoreError(f"{name} in the store {self.root} names a file outside its folder: {file}")
            if path.parts[0] not in OF_RUNS.get(name.partition("/")[0], path.parts):
                raise StoreError(f"{name} in the store {self.root} names a file that is none of its kind: {file}")
            self._get(sha256, folder / path)
        return list(files)

    def publish_record(self, name: str, record: object) -> None:
        """Put one record, and its manifest."""
        with tempfile.TemporaryDirectory() as scratch:
            write_json(Path(scratch) / RECORD, record)
            self.publish(name, Path(scratch), [RECORD])

    def record(self, name: str, kind: TypeAdapter[T]) -> T:
        """The record of this kind that a manifest names. Raises StoreError."""
        with tempfile.TemporaryDirectory() as scratch:
            self.fetch(name, Path(scratch))
            with reading(self._path(f"{name}.json"), StoreError, "Delete it there", "it is damaged"):
                return kind.validate_json(read_regular(Path(scratch) / RECORD))

    def _listed(self, name: str) -> dict[str, str]:
        """Digests of a manifest's files by their names."""
        manifest = self._path(f"{name}.json")
        # whatever keeps it from being read, a network or a login, is no damage: it would be deleted for nothing
        with reading(manifest, StoreError, "Try again when the store answers", "the store does not give it"):
            content = self.files.cat_file(manifest)
        with reading(manifest, StoreError, "Delete it there", "it is damaged"):
            return MANIFESTS.validate_json(content, strict=True)["files"]

    def _put(self, file: Path, name: str) -> None:
        beside = self._path(f"incoming/{uuid.uuid4().hex}")
        self.files.makedirs(self._path("incoming"), exist_ok=True)
        self.files.put_file(str(file), beside)
        self.files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
        self.files.mv(beside, self._path(name))

    def _get(self, sha256: str, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            self.files.get_file(self._path(f"blobs/{sha256}"), str(partial))
            if hash_file(partial) != sha256:
                raise StoreError(f"{file.name} in the store {self.root} is damaged; delete blobs/{sha256} there")
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def open_store(url: str) -> Store:
    """Raises StoreError where the address is of no kind that can be used here, or holds a password."""
    scheme, _, rest = url.partition("://")
    account, at, _ = rest.partition("/")[0].rpartition("@")
    # a container of Azure's stands before the @, and who logs in by SSH or at HDFS is no secret
    if at and (":" in account or scheme not in WITH_ACCOUNTS):
        raise StoreError(
            f"the store {redacted(url)} holds a user or password, and Prefect shows its address to all who may use its "
            "API. Put them into fsspec's configuration (~/.config/fsspec) or into variables of the store's client"
        )
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise StoreError(
            f"the store {url} cannot be used: {error}; give a folder that all machines see, or install what is missing"
        ) from error
    return Store(files, str(root).rstrip("/"), url.rstrip("/"))


def fetch_folder(store: Store, name: str, folder: Path) -> None:
    """Bring a checkpoint in as a whole folder, which appears when it is complete. Raises StoreError, and
    CheckpointError where it holds code.
    """
    partial = folder.with_name(folder.name + ".fetched")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        store.fetch(name, partial)
        check_no_code(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
