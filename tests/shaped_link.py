"""A network for tests: a TCP proxy on loopback that delays, keeps to a rate that changes, and can be cut.

All connections share the link, whose two directions do not disturb each other: what comes later waits for what came
before it. A direction takes a piece after the other, each for as long as its bytes take at the rate of then, and gives
it out a latency later. Little is taken in ahead: who sends more waits, as at a modem.

**Cut** it is broken in one of two ways. `reset`: connections that are there break, and new ones are refused as soon as
they are made, as by a router that says that nothing is there. `silent`: nothing gets through and nobody is told, as
where a phone has left its cell; connections stay, and what was on its way goes on when it is mended, as TCP sends it
again; new ones are not answered. It is `tc`'s netem for machines whose kernel has none, and without root.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from bisect import bisect_right
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

PATIENCE_S = 30.0
PIECE_BYTES = 4096
AHEAD_US = 20_000
"""So much as is out that soon waits in a link; who sends more waits."""
BUFFER_BYTES = 1 << 14
BACKLOG = 128
NO_LINGER = struct.pack("ii", 1, 0)
"""Closing then resets a connection."""

Cut = Literal["reset", "silent"]


@dataclass(frozen=True)
class Rates:
    """What a link carries over time: from each time on so many bytes a second, None while nothing passes."""

    from_us: tuple[int, ...]
    """Rising, from 0."""
    bytes_per_s: tuple[int | None, ...]
    lasts_us: int
    """After it all begins anew."""

    @classmethod
    def steady(cls, bytes_per_s: int) -> Rates:
        """Always the same."""
        return cls((0,), (bytes_per_s,), 1_000_000)

    @classmethod
    def of(cls, changes: Iterable[tuple[int, int | None]], lasts_us: int) -> Rates:
        """Of what a trace says up to that time: when the rate changes, and to what."""
        kept = [(at_us, rate) for at_us, rate in changes if at_us < lasts_us]
        if not kept or kept[0][0] != 0 or all(rate is None for _, rate in kept):
            raise ValueError("a trace begins at 0, and lets something pass at some time")
        return cls(tuple(at_us for at_us, _ in kept), tuple(rate for _, rate in kept), lasts_us)

    def at(self, at_us: float) -> int | None:
        """The rate at that time."""
        return self.bytes_per_s[bisect_right(self.from_us, at_us % self.lasts_us) - 1]

    def out_us(self, at_us: float, size_bytes: float) -> float:
        """When so many bytes are through that begin at that time."""
        while True:
            turn, into_us = divmod(at_us, self.lasts_us)
            part = bisect_right(self.from_us, into_us) - 1
            rate = self.bytes_per_s[part]
            next_us = self.from_us[part + 1] if part + 1 < len(self.from_us) else self.lasts_us
            until_us = turn * self.lasts_us + next_us
            if rate is not None:
                takes_us = size_bytes * 1e6 / rate
                if at_us + takes_us <= until_us:
                    return at_us + takes_us
                size_bytes -= (until_us - at_us) * rate / 1e6
            at_us = until_us


@dataclass
class Direction:
    """One way of a link."""

    rates: Rates
    latency_us: int
    carried_bytes: int = 0
    free_us: float = 0.0
    """Until then it is busy with what came before."""

    def take(self, now_us: float, size_bytes: int) -> float:
        """A piece comes: when it is out at the other end."""
        self.free_us = self.rates.out_us(max(now_us, self.free_us), size_bytes)
        self.carried_bytes += size_bytes
        return self.free_us + self.latency_us


@dataclass
class _Pipe:
    """One way of one connection."""

    direction: Direction
    source: asyncio.StreamReader
    target: asyncio.StreamWriter
    queue: asyncio.Queue[tuple[float, bytes]] = field(default_factory=asyncio.Queue)


class ShapedLink:
    """A link to a server, of which clients know `address`. From any thread; it has a thread of its own."""

    def __init__(
        self, target: tuple[str, int], *, up: Rates, down: Rates | None = None, latency_us: int = 0, port: int = 0
    ) -> None:
        """`up` is to the server; the latency is that of one way."""
        self._target = target
        self.up, self.down = Direction(up, latency_us), Direction(down or up, latency_us)
        self._listening = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        # Small, so that who sends notices how slow it is.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._listening.setblocking(False)
        self.address: tuple[str, int] = self._listening.getsockname()
        self.connections = 0
        """So many were made through it so far."""
        self._filler: socket.socket | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._cut: Cut | None = None
        self._loop = asyncio.new_event_loop()
        self._whole, self._ended = asyncio.Event(), asyncio.Event()
        self._whole.set()
        self._begun_s = self._loop.time()
        self._loop.add_reader(self._listening, self._accept)
        self._thread = threading.Thread(target=self._run, name="shaped link")
        self._thread.start()

    @property
    def url(self) -> str:
        """Where a server of HTTP is, by way of it."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def now_us(self) -> float:
        """The time that rates go by."""
        return (self._loop.time() - self._begun_s) * 1e6

    def begin(self, rates: Rates) -> None:
        """From now on it has these, both ways, and their time begins."""
        self._begun_s = self._loop.time()
        for way in (self.up, self.down):
            way.rates, way.free_us = rates, 0.0

    def cut(self, kind: Cut) -> None:
        """Break it."""
        self._done(self._break(kind))

    def mend(self) -> None:
        """It is whole again."""
        self._done(self._mend())

    def close(self) -> None:
        """Hang up on everybody. Closing twice is fine."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> ShapedLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self._ended.wait()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        if self._filler is not None:
            self._filler.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await asyncio.sleep(0)  # What was hung up on is closed by then.

    def _accept(self) -> None:
        try:
            own, _ = self._listening.accept()
        except OSError:  # Who knocked has gone.
            return
        own.setblocking(False)
        if self._cut == "reset":
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            own.close()
            return
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._carry(own))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, own: socket.socket) -> None:
        """A connection, from its beginning to its end."""
        near_reader, near = await asyncio.open_connection(sock=own, limit=PIECE_BYTES)
        self._writers.add(near)
        self.connections += 1
        far: asyncio.StreamWriter | None = None
        try:
            # A handshake takes a way there and back.
            await asyncio.sleep((self.up.latency_us + self.down.latency_us) / 1e6)
            far_reader, far = await asyncio.open_connection(*self._target, limit=PIECE_BYTES)
            self._writers.add(far)
            pipes = (_Pipe(self.up, near_reader, far), _Pipe(self.down, far_reader, near))
            async with asyncio.TaskGroup() as group:
                for pipe in pipes:
                    group.create_task(self._take(pipe))
                    group.create_task(self._give(pipe))
        except* OSError:  # Either end has hung up, or the server is not there: the other is told.
            _reset(near)
        finally:
            for writer in (near, far):
                if writer is not None:
                    self._writers.discard(writer)
                    writer.transport.abort()

    async def _take(self, pipe: _Pipe) -> None:
        while piece := await pipe.source.read(PIECE_BYTES):
            await self._whole.wait()
            pipe.queue.put_nowait((pipe.direction.take(self.now_us, len(piece)), piece))
            await asyncio.sleep(max(0.0, pipe.direction.free_us - self.now_us - AHEAD_US) / 1e6)
        pipe.queue.put_nowait((self.now_us + pipe.direction.latency_us, b""))

    async def _give(self, pipe: _Pipe) -> None:
        while True:
            out_us, piece = await pipe.queue.get()
            await asyncio.sleep(max(0.0, out_us - self.now_us) / 1e6)
            await self._whole.wait()
            if not piece:
                pipe.target.write_eof()
                return
            pipe.target.write(piece)
            await pipe.target.drain()

    async def _break(self, kind: Cut) -> None:
        await self._mend()
        self._cut = kind
        if kind == "reset":
            for writer in tuple(self._writers):
                _reset(writer)
            return
        self._whole.clear()
        self._loop.remove_reader(self._listening)
        # The kernel makes connections for whoever listens; with a queue of one that is full it answers nobody.
        self._listening.listen(0)
        self._filler = socket.socket()
        self._filler.setblocking(False)
        with suppress(BlockingIOError):
            self._filler.connect(self.address)

    async def _mend(self) -> None:
        self._cut = None
        if self._filler is not None:
            self._filler.close()
            self._filler = None
            self._listening.listen(BACKLOG)
            self._loop.add_reader(self._listening, self._accept)
        self._whole.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Hang up so that the other end is told at once."""
    with suppress(OSError):  # It has already.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()
