"""WebSockets to `address`, as `ws.test`; ends with an error where one does not go as it should."""

import asyncio
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

address, what = sys.argv[1:3]


def to(path, **more):
    more = {"ping_interval": None, "max_size": None, "compression": None, "proxy": None, "open_timeout": 20, "close_timeout": 20} | more
    host, port = address.rsplit(":", 1)
    return connect(f"ws://ws.test{path}", host=host, port=int(port), **more)


def check(got, expected):
    assert got == expected, f"{got!r:.200}, not {expected!r:.200}"


async def echo():
    async with to("/echo") as socket:
        for number in range(500):
            await socket.send(f"number {number}")
            check(await socket.recv(), f"number {number}")
        # All sent before one is read.
        for number in range(500):
            await socket.send(number.to_bytes(2, "big") * number)
        for number in range(500):
            check(await socket.recv(), number.to_bytes(2, "big") * number)
        large = bytes(range(256)) * (16 << 12)
        for message in (large, [large[:1000], large[1000:]]):
            await socket.send(message)
            check(await socket.recv() == large, True)
        for _ in range(3):
            await asyncio.wait_for(await socket.ping(), 20)
        await socket.close(4002, "done")
    async with to("/close") as socket:
        await socket.wait_closed()
        check((socket.close_code, socket.close_reason), (4001, "enough"))
    # With compression, which the two ends agree on.
    async with to("/echo", compression="deflate") as socket:
        await socket.send("again " * 1000)
        check(await socket.recv(), "again " * 1000)


async def full():
    """Sends 60 MB to one who sends as much before it reads any, and reads nothing until no more is taken: every buffer on the way is full then."""
    async with to("/late") as socket:
        sent = [time.monotonic()]

        async def send():
            for number in range(600):
                await socket.send(number.to_bytes(2, "big") * 50_000)
                sent.append(time.monotonic())

        sending = asyncio.create_task(send())
        while time.monotonic() - sent[-1] < 1:
            await asyncio.sleep(0.01)
        assert len(sent) <= 600, "the buffers on the way hold all of it"
        for number in range(600):
            check(await asyncio.wait_for(socket.recv(), 30) == number.to_bytes(2, "big") * 50_000, True)
        await sending
        await socket.close(4002, "done")


async def idle():
    """Nothing for so many seconds, and then all is as before."""
    async with to("/echo") as socket:
        await socket.send("before")
        check(await socket.recv(), "before")
        await asyncio.sleep(float(sys.argv[3]))
        await socket.send("after")
        check(await socket.recv(), "after")


async def closed():
    """Nothing until it is closed."""
    async with to("/echo") as socket:
        await socket.send("before")
        check(await socket.recv(), "before")
        began = time.monotonic()
        await socket.wait_closed()
        print(f"{time.monotonic() - began:.1f} {socket.close_code}")


async def busy():
    """Talks until it is closed."""
    async with to("/echo") as socket:
        began = time.monotonic()
        try:
            while True:
                await socket.send("on")
                check(await socket.recv(), "on")
                await asyncio.sleep(0.2)
        except ConnectionClosed:
            print(f"{time.monotonic() - began:.1f} {socket.close_code}")


async def push():
    """Says nothing, and hears all."""
    async with to("/push") as socket:
        check([message async for message in socket], [str(number) for number in range(5)])


asyncio.run({"echo": echo, "full": full, "idle": idle, "closed": closed, "busy": busy, "push": push}[what]())
