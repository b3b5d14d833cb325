"""A WebSocket server. Says its port, then how connections end.

`/echo` repeats what it hears, `/close` closes with a code of its own, `/push` sends five messages, one every second, and then closes, `/late` sends
60 MB before it reads anything."""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def answer(socket):
    path = socket.request.path
    try:
        if path == "/close":
            await socket.close(4001, "enough")
        elif path == "/push":
            for number in range(5):
                await socket.send(str(number))
                await asyncio.sleep(1)
            await socket.close()
        elif path == "/late":
            for number in range(600):
                await socket.send(number.to_bytes(2, "big") * 50_000)
            assert [message[:2] async for message in socket] == [number.to_bytes(2, "big") for number in range(600)]
        else:
            async for message in socket:
                await socket.send(message)
    except ConnectionClosed:
        pass
    await socket.wait_closed()
    print(f"{path} {socket.close_code} {socket.close_reason}", flush=True)


async def main():
    async with serve(answer, "127.0.0.1", 0, ping_interval=None, max_size=None, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
