"""The clients there are: what each needs of the machine, and how it is installed and called."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.targets import Unavailable

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
CACHE = ROOT / ".interop"

_STAMP = ".installed"
_DEFAULT_SECONDS = 180
_INSTALL_SECONDS = 1200
_INSTALL_ATTEMPTS = 2
_VERSION_ARGUMENT = {"go": "version", "java": "-version", "kcat": "-V"}
_VERSION = re.compile(r"(?:librdkafka |\bgo|[vV ]|\")(\d+(?:\.\d+)*)")
_TAIL = 40
_LOCK = Path(tempfile.gettempdir()) / f"kraft-interop-{os.geteuid()}.lock"
_ENVIRONMENT = {
    "MAVEN_OPTS": "-Xmx512m -Dmaven.wagon.http.retryHandler.count=3 -Dmaven.wagon.rto=60000",
}
"""What `install` is given unless the environment says otherwise. Left to itself Maven takes a quarter of the
memory, gives up when a connection that it kept was dropped, and waits half an hour for a silent one."""


class InstallError(Exception):
    """A client's `install` failed; the text has the end of what it printed."""


class FetchError(InstallError):
    """It failed because a registry did not give what it was asked for: no fault of the client's files."""


@dataclass(frozen=True, slots=True)
class Client:
    """One folder with a `client.toml`; see README.md for its keys."""

    name: str
    folder: Path
    title: str
    language: str
    needs: Mapping[str, str]
    shared: Sequence[str]
    install: Sequence[Sequence[str]]
    unfetched: Sequence[str]
    run: Sequence[str]
    seconds: int

    @property
    def home(self) -> Path:
        """Where its copy is, and where its commands run."""
        return CACHE / self.name

    def command(self, *arguments: str) -> list[str]:
        """The script's command line."""
        return [*_filled(self.run), *arguments]


def load(folder: Path) -> Client:
    """The client of a folder. Raises TypeError for a key that is not known, KeyError for a missing one."""
    said = tomllib.loads((folder / "client.toml").read_text(encoding="utf-8"))
    client = Client(
        folder.name.replace("_", "-"),
        folder,
        said.pop("title"),
        said.pop("language"),
        said.pop("needs", {}),
        said.pop("shared", []),
        said.pop("install", []),
        said.pop("unfetched", []),
        said.pop("run"),
        said.pop("seconds", _DEFAULT_SECONDS),
    )
    if said:
        raise TypeError(f"{folder.name}/client.toml: unknown {', '.join(said)}")
    return client


def every_client() -> dict[str, Client]:
    """All clients by name."""
    clients = (load(path.parent) for path in sorted(FOLDER.glob("*/client.toml")))
    return {client.name: client for client in clients}


def check_needs(client: Client) -> None:
    """Raises Unavailable unless every program that the client needs is here, and new enough."""
    for program, least in client.needs.items():
        path = shutil.which(program)
        if path is None:
            raise Unavailable(f"{client.title}: {program} is not installed")
        asked = subprocess.run(
            [path, _VERSION_ARGUMENT.get(program, "--version")], capture_output=True, text=True, check=False
        )
        found = _VERSION.search(" " + asked.stdout + asked.stderr)
        if found is None or _numbers(found[1]) < _numbers(least):
            has = found[1] if found else "of unknown version"
            raise Unavailable(f"{client.title}: needs {program} {least}, and {has} is installed")


def prepare(client: Client) -> None:
    """Copy the client's folder to its home and install it there, if either is not as it should be.

    Raises Unavailable, or InstallError, which is a FetchError if a registry is to blame.
    """
    check_needs(client)
    with _alone() if client.install else contextlib.nullcontext():
        _prepare(client)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One installation of this user's at a time: homes are shared by processes, and what registries gave is
    kept in one place for all checkouts. Maven 3 does not guard its own against a second one."""
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepare(client: Client) -> None:
    files = _files(client)
    stamp = _digest(client, files)
    home = client.home
    if (home / _STAMP).is_file() and (home / _STAMP).read_text() == stamp:
        return
    home.mkdir(parents=True, exist_ok=True)
    (home / _STAMP).unlink(missing_ok=True)
    for source, place in files:
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, home / place)
    for command in client.install:
        _install(client, _filled(command))
    (home / _STAMP).write_text(stamp)


def _install(client: Client, command: list[str]) -> None:
    """Run it, and once more if it fails: registries and the way to them have their moments.

    Raises FetchError if the last attempt says one of the client's `unfetched`, otherwise InstallError.
    """
    said = ""
    for _ in range(_INSTALL_ATTEMPTS):
        status, said = _attempt(client, command)
        if status == 0:
            return
        said = f"{said}\nstatus {status}"
    kind = FetchError if any(mark in said for mark in client.unfetched) else InstallError
    raise kind(_complaint(client, command, f"failed {_INSTALL_ATTEMPTS} times", said))


def _attempt(client: Client, command: list[str]) -> tuple[int, str]:
    """The command's exit status and all that it said. Raises InstallError if it does not end."""
    try:
        done = subprocess.run(
            command,
            cwd=client.home,
            env={**_ENVIRONMENT, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = _text(late.stdout or b"")
        raise InstallError(_complaint(client, command, "took too long", said)) from late
    return done.returncode, _text(done.stdout)


def _complaint(client: Client, command: list[str], what: str, said: str) -> str:
    tail = "\n".join(said.splitlines()[-_TAIL:])
    return f"{client.title}: {' '.join(command)} {what}\n{tail}"


def _text(output: bytes) -> str:
    return output.decode(errors="replace").strip()


def _files(client: Client) -> list[tuple[Path, Path]]:
    """Each file and its place in the client's home."""
    own = sorted(
        path for path in client.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    lent = [FOLDER / name for name in client.shared]
    return [(path, path.relative_to(client.folder)) for path in own] + [
        (path, Path(path.name)) for path in lent
    ]


def _digest(client: Client, files: Sequence[tuple[Path, Path]]) -> str:
    digest = hashlib.sha256()
    for program in sorted(client.needs):
        digest.update(f"{shutil.which(program)}\n".encode())
    for source, place in files:
        content = source.read_bytes()
        digest.update(f"{place} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _filled(words: Sequence[str]) -> list[str]:
    return [word.replace("{python}", sys.executable).replace("{root}", str(ROOT)) for word in words]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
