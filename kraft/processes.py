"""Processes that are started, watched, hurt and always cleaned up: what `kraft-node dev` and chaos stand on.

A `ManagedProcess` is one program that announces itself on `--ready-fd` (see `kraft.readiness`). Nothing here
polls: readiness is a pipe, the end of a process is its pidfd (Linux 5.3). A child that is started with
`--parent-pid` calls `die_with_parent`, so that it does not outlive whoever started it, even by SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kraft.readiness import NodeAddresses, parse_ready_line

_PR_SET_PDEATHSIG = 1
_MAX_READY_BYTES = 4096
_LOG_TAIL_BYTES = 4096
_PORT_ATTEMPTS = 3
_IN_USE = "address already in use"


class StartError(Exception):
    """A process ended, or stayed silent, before it was ready. The last lines of its log say why."""


class PortInUseError(StartError):
    """It did not start because another process listens where it wanted to."""


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; leave now if it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent_pid:
        raise SystemExit(1)


def reserve_port(host: str = "127.0.0.1") -> int:
    """A free TCP port that the system gives to nobody else for a minute.

    A connection to the port that its listener closes first leaves it in TIME_WAIT: a listener may then still
    bind it (servers set SO_REUSEADDR), but neither `bind` to port 0 nor an outgoing connection is given it.
    """
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.close()
        return int(listener.getsockname()[1])


class ManagedProcess:
    """One program, its log file, and the process that runs it now, if one does.

    The command line stays the same over restarts, so that a node comes back with its ports and its data.
    `environment` replaces this process's own if it is given.
    Use it on the main thread only: the kernel ties `die_with_parent` to the thread that starts the child.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._arguments = tuple(arguments)
        self._environment = os.environ if environment is None else environment
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises ValueError while nothing runs."""
        if self._process is None or not self.running:
            raise ValueError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """True from `start` until the process has ended; a paused one is running."""
        return self._ended is not None and not self._ended.done()

    async def start(self, timeout: float = 30.0) -> NodeAddresses:
        """Start it and return what it announces when it is ready.

        A port that is taken is tried again a few times, since someone's outgoing connection may have it for a
        moment. Raises StartError, and leaves nothing running then.
        """
        attempt = 1
        while True:
            try:
                return await self._start_once(timeout)
            except PortInUseError:
                if attempt == _PORT_ATTEMPTS:
                    raise
                await asyncio.sleep(0.1 * attempt)
                attempt += 1

    async def _start_once(self, timeout: float) -> NodeAddresses:
        if self.running:
            raise ValueError(f"{self.name} is running already")
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process, read_end = self._spawn()
        self._ended = _watch(self._process)
        try:
            async with asyncio.timeout(timeout):
                line = await _read_line(read_end)
            return parse_ready_line(line)
        except (TimeoutError, ValueError) as error:
            await self.kill()
            raise self._start_error(error, log_start) from None
        except BaseException:
            await self.kill()
            raise

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        """The child and the end of the pipe that its readiness is read from."""
        read_end, write_end = os.pipe()
        try:
            with open(self.log_path, "ab") as log:
                child = subprocess.Popen(
                    [*self._arguments, "--ready-fd", str(write_end), "--parent-pid", str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    pass_fds=(write_end,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return child, read_end

    def _start_error(self, error: Exception, log_start: int) -> StartError:
        with open(self.log_path, "rb") as log:
            log.seek(log_start)
            said = log.read()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        what = "was not ready in time" if isinstance(error, TimeoutError) else "did not start"
        kind = PortInUseError if _IN_USE in said.lower() else StartError
        return kind(f"{self.name} {what}: {said or 'it said nothing'}")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP pauses, SIGCONT resumes. Raises ValueError while nothing runs."""
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for the process to end. Returns its exit status, or the negative number of the signal."""
        if self._ended is None:
            raise ValueError(f"{self.name} was never started")
        return await asyncio.shield(self._ended)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting; nothing happens if it has ended."""
        with contextlib.suppress(ValueError):
            self.send_signal(signal.SIGTERM)

    async def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM, then SIGKILL after `timeout` seconds; returns the exit status."""
        with contextlib.suppress(ValueError):
            self.send_signal(signal.SIGTERM)
            self.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(timeout):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL; returns when the process is gone. A paused one dies as well."""
        with contextlib.suppress(ValueError):
            self.send_signal(signal.SIGKILL)
        return await self.wait()

    def kill_now(self) -> None:
        """SIGKILL and reap without an event loop: for the way out."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.wait()


def _watch(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """A future with the exit status, set when the process has ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    descriptor = os.pidfd_open(process.pid)

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        status = process.wait()
        if not ended.done():
            ended.set_result(status)

    loop.add_reader(descriptor, reap)
    return ended


async def _read_line(descriptor: int) -> str:
    """The first line from a pipe, or what came before its end; closes it."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    received = bytearray()

    def readable() -> None:
        data = os.read(descriptor, _MAX_READY_BYTES)
        received.extend(data)
        if (not data or b"\n" in received or len(received) >= _MAX_READY_BYTES) and not line.done():
            line.set_result(received.decode(errors="replace"))

    loop.add_reader(descriptor, readable)
    try:
        return await line
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
