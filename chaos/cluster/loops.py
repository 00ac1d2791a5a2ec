"""Event loops of simulated processes: one for each, all driven by one `World` in virtual time.

What a process does, down to its tasks and futures, is asyncio's own; only when it happens is decided here. A
process that is killed never runs again, not even its `finally` blocks; one that is paused keeps what it
would have done for later.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context
from enum import Enum, auto
from heapq import heappop, heappush
from typing import Any, cast

Executor = Callable[[Callable[[], Any], Callable[[Any, BaseException | None], None]], None]
"""Does work aside, then tells its result or its failure."""


class DeadlockError(Exception):
    """Everybody waits, and no timer will ever wake anybody."""


class _NumberedFuture(asyncio.Future[Any]):
    """Sets of them have an order that does not depend on where they lie in memory."""

    number: int

    def __hash__(self) -> int:
        return self.number


class _NumberedTask(asyncio.Task[Any]):
    """See `_NumberedFuture`."""

    number: int

    def __hash__(self) -> int:
        return self.number


class Life(Enum):
    """Of a process."""

    RUNNING = auto()
    PAUSED = auto()
    DEAD = auto()


class Call:
    """A callback to come; what asyncio calls a handle."""

    __slots__ = ("_args", "_callback", "_context", "_loop", "_when", "cancelled_")

    def __init__(
        self,
        loop: ProcessLoop,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
        when: float = 0.0,
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._context = context
        self._when = when
        self.cancelled_ = False

    def cancel(self) -> None:
        """See `asyncio.Handle`."""
        self.cancelled_ = True

    def cancelled(self) -> bool:
        """See `asyncio.Handle`."""
        return self.cancelled_

    def when(self) -> float:
        """See `asyncio.TimerHandle`."""
        return self._when


class World:
    """Virtual time and everything that is to happen in it; `time` and `call_at` are a `Scheduler`'s."""

    def __init__(self, start: float = 1000.0) -> None:
        self.began = start
        self.now = start
        self.ready: deque[Call] = deque()
        self.things = 0
        """Futures and tasks so far."""
        self.turns = 0
        """Callbacks so far."""
        self.dead: list[ProcessLoop] = []
        """Kept to the end: what is thrown away runs its `finally` blocks, in whatever process runs then."""
        self._timers: list[tuple[float, int, Call]] = []
        self._order = 0
        self.host = ProcessLoop(self, "world")
        """The loop of the simulation itself, which nobody kills."""
        self.checks: list[Callable[[], None]] = []
        """What to look at when the present callback is over; what a check raises ends `run`."""

    def time(self) -> float:
        """Seconds, virtual."""
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Call:
        """Call back at `when`, whatever happens to the processes."""
        return self.timer(self.host, when, callback, args, None)

    def timer(
        self,
        loop: ProcessLoop,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> Call:
        """Call back on `loop` at `when`, or now if that has passed."""
        self._order = order = self._order + 1
        when = max(when, self.now)
        call = Call(loop, callback, args, context, when)
        heappush(self._timers, (when, order, call))
        return call

    def run(self, until: float, done: Callable[[], bool] | None = None) -> bool:
        """Let things happen until the virtual time `until`, or until `done`, which is asked after each turn;
        whether it ended for that. Whatever is raised outside of a task is raised here.
        """
        ready, timers, checks, alive = self.ready, self._timers, self.checks, Life.RUNNING
        running: ProcessLoop | None = None
        try:
            while True:
                while ready:
                    call = ready.popleft()
                    if call.cancelled_:
                        continue
                    loop = call._loop
                    if loop.life is not alive:
                        loop.put_off(call)
                        continue
                    if loop is not running:
                        events._set_running_loop(loop._self)
                        running = loop
                    self.turns += 1
                    context = call._context
                    if context is None:
                        call._callback(*call._args)
                    else:
                        context.run(call._callback, *call._args)
                    if checks:
                        for check in checks:
                            check()
                        checks.clear()
                if done is not None and done():
                    return True
                if not timers or timers[0][0] > until:
                    if not timers and done is not None:
                        raise DeadlockError("every process waits, and no timer is set")
                    self.now = max(self.now, until)
                    return False
                now = self.now = timers[0][0]
                while timers and timers[0][0] <= now:
                    call = heappop(timers)[2]
                    if not call.cancelled_:
                        ready.append(call)
        finally:
            events._set_running_loop(None)


class ProcessLoop:
    """What a simulated process knows as its event loop. It has those of the methods of
    `asyncio.AbstractEventLoop` that nodes and clients use; there are no sockets, signals or threads here.
    """

    def __init__(self, world: World, name: str, executor: Executor | None = None) -> None:
        self.world = world
        self.name = name
        self.life = Life.RUNNING
        self.on_error: Callable[[BaseException], None] = _raise
        self._executor = executor
        self._self = cast(asyncio.AbstractEventLoop, self)
        self._put_off: list[Call] = []
        self._tasks: list[asyncio.Task[Any]] = []
        """Those that are not done, and some that are."""
        self._tasks_limit = 64
        self.remains: list[asyncio.Task[Any]] = []
        """What a killed process left unfinished; it stays as it was, `finally` blocks and all."""

    # -- life -------------------------------------------------------------------------------------

    def pause(self) -> None:
        """SIGSTOP."""
        if self.life is Life.RUNNING:
            self.life = Life.PAUSED

    def resume(self) -> None:
        """SIGCONT: everything that waited happens now."""
        if self.life is Life.PAUSED:
            self.life = Life.RUNNING
            self.world.ready.extend(self._put_off)
            self._put_off.clear()

    def kill(self) -> None:
        """SIGKILL."""
        self.life = Life.DEAD
        self._put_off.clear()
        self.remains = self._tasks
        self.world.dead.append(self)

    def put_off(self, call: Call) -> None:
        """A call that came while the process does not run."""
        if self.life is Life.PAUSED:
            self._put_off.append(call)

    # -- asyncio ----------------------------------------------------------------------------------

    def time(self) -> float:
        return self.world.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Call:
        call = Call(self, callback, args, context)
        self.world.ready.append(call)
        return call

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        return self.world.timer(self, self.world.now + delay, callback, args, context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        return self.world.timer(self, when, callback, args, context)

    def create_future(self) -> asyncio.Future[Any]:
        world = self.world
        future = _NumberedFuture(loop=self._self)
        future.number = world.things = world.things + 1
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = _NumberedTask.__new__(_NumberedTask)
        # The number comes first: a task is a member of asyncio's set of all tasks from its beginning.
        task.number = self.world.things = self.world.things + 1
        task.__init__(coro, loop=self._self, name=name or "", context=context)  # type: ignore[misc]
        if len(self._tasks) >= self._tasks_limit:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._tasks_limit = 2 * len(self._tasks) + 64
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        assert executor is None
        assert self._executor is not None, "this process has nobody who works aside"
        future = self.create_future()

        def finished(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._executor(lambda: func(*args), finished)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.life is not Life.DEAD and (error := context.get("exception")) is not None:
            self.on_error(error)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.life is Life.RUNNING

    def is_closed(self) -> bool:
        return False


def current_process() -> ProcessLoop:
    """The loop of the process that runs at this moment."""
    return cast(ProcessLoop, asyncio.get_running_loop())


def _raise(error: BaseException) -> None:
    raise error
