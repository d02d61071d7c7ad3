"""Servers that fail, one way each: `python -m tests.support.failing WAY` says its port and serves until killed."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRIP_SECONDS = 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = [HEAD + b"X-Endless: " + b"x" * 1_000, HEAD + b"Content-Length: 1000\r\n\r\n" + b" " * 1_000]
GARBAGE = [
    b"\x00\x01\x02\xff" * 50,
    b"\r\n" * 100,
    b"HTTP/9.9 abc\r\n\r\n",
    HEAD + b"Content-Length: 14\r\n\r\n<html></html>\n",
    HEAD + b"Content-Length: 2\r\n\r\n[]",
    HEAD + b'Content-Length: 13\r\n\r\n{"send": true',
    HEAD + b"Content-Length: 500\r\n\r\n{",
    HEAD + b"Content-Length: many\r\n\r\n{}",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    HEAD + b"X: y\r\n" * 500 + b"\r\n{}",
    HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n{}",
    HEAD + b"Content-Length: 2\r\n\r\n\xff\xfe",
    b"HTTP/1.1 307 Elsewhere\r\nLocation: /decide\r\nContent-Length: 0\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
]

Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


async def hang(_writer: asyncio.StreamWriter, _number: int) -> None:
    """Says nothing."""
    await asyncio.sleep(3_600)


async def drip(writer: asyncio.StreamWriter, number: int) -> None:
    """Sends a byte from time to time, in the header or in the body."""
    for byte in DRIPS[number % len(DRIPS)]:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DRIP_SECONDS)


async def fail(writer: asyncio.StreamWriter, _number: int) -> None:
    """Answers 500."""
    writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")


async def garble(writer: asyncio.StreamWriter, number: int) -> None:
    """Answers what is no decision, or no HTTP."""
    writer.write(GARBAGE[number % len(GARBAGE)])


WAYS: dict[str, Answer] = {"hanging": hang, "slow": drip, "500": fail, "garbage": garble}


async def serve(answer: Answer) -> None:
    numbers = count()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(65_536)
            await answer(writer, next(numbers))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1_024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def failing_server(way: str) -> Iterator[str]:
    """The address of a server, in a process of its own, that fails in this way."""
    words = [sys.executable, "-m", "tests.support.failing", way]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve(WAYS[sys.argv[1]]))
