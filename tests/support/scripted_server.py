"""A server for asyncio tests whose replies the test defines. It records the requests."""

from __future__ import annotations

import asyncio
from types import TracebackType

Command = list[bytes]


class ScriptedServer:
    """Replies to every command with ``+OK``, except to EVALSHA, EVAL, GET and MGET with `answer`.

    Attributes:
        answer: the bytes of the reply; `None` to close the connection instead.
        executed: the scripts and reads received so far.
        open: how many of the connections are open.
        connections: the number of connections accepted.
    """

    def __init__(self) -> None:
        self.answer: bytes | None = b"$-1\r\n"
        self.executed: list[Command] = []
        self.connections = 0
        self.open = 0
        self._open = asyncio.Event()
        self._open.set()
        self._handshake = asyncio.Event()
        self._handshake.set()
        self._arrived = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._left: int | None = None

    @property
    def address(self) -> str:
        """The host and port."""
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def hold(self, *, after: int = 0) -> None:
        """Read commands, but reply to only ``after`` of them until `release`."""
        self._open.clear()
        self._left = after

    def hold_handshakes(self) -> None:
        """Reply to nothing on new connections."""
        self._handshake.clear()

    def release(self) -> None:
        """Reply to everything again."""
        self._open.set()
        self._handshake.set()
        self._left = None

    async def until_executed(self, count: int) -> None:
        """Wait until ``count`` scripts and reads have been received."""
        while len(self.executed) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def until_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        while self.open != count:
            await asyncio.sleep(0)

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.append(writer)
        try:
            await self._handshake.wait()
            while True:
                if not await self._answer(await _read(reader), writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, command: Command, writer: asyncio.StreamWriter) -> bool:
        if command[0].upper() not in (b"EVALSHA", b"EVAL", b"GET", b"MGET"):
            known = command[0].upper() not in (b"HELLO",)
            writer.write(b"+OK\r\n" if known else b"-NOPROTO unsupported protocol version\r\n")
            return True
        self.executed.append(command)
        self._arrived.set()
        if self._left:
            self._left -= 1
        else:
            await self._open.wait()
        if self.answer is None:
            return False
        writer.write(self.answer)
        return True


async def _read(reader: asyncio.StreamReader) -> Command:
    count = int((await reader.readuntil(b"\r\n"))[1:-2])
    command = []
    for _ in range(count):
        length = int((await reader.readuntil(b"\r\n"))[1:-2])
        command.append((await reader.readexactly(length + 2))[:-2])
    return command
