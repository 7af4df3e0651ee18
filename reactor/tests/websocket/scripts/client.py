# Talks to an echo over WebSocket in every way that this package knows. Prints "ok" at the end.
import asyncio
import random
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

SIZES = [0, 1, 63, 64, 125, 126, 127, 1000, 65535, 65536, 300000]


def variants():
    yield None, []
    for bits in [None, 9, 12, 15]:
        for takeover in [True, False]:
            yield "own", [
                Deflate(
                    server_no_context_takeover=not takeover,
                    client_no_context_takeover=not takeover,
                    server_max_window_bits=bits,
                    client_max_window_bits=bits if bits else True,
                )
            ]


async def talk(uri, extensions, chosen):
    async with websockets.connect(
        uri, compression=None, extensions=extensions or None, subprotocols=["v1", "v2"], max_size=None
    ) as socket:
        assert socket.subprotocol == chosen, socket.subprotocol
        noise = random.Random(1)
        for size in SIZES:
            for text in ["a" * size, "".join(noise.choice("aäb€c😀") for _ in range(size // 2))]:
                await socket.send(text)
                assert await socket.recv() == text
            for data in [bytes(size), noise.randbytes(size)]:
                await socket.send(data)
                assert await socket.recv() == data
        for number in range(50):
            await socket.send('{"event": "trade", "number": %d, "price": "1.0"}' % number)
        for number in range(50):
            assert '"number": %d,' % number in await socket.recv()
        await socket.send(["in ", "many ", "", "fragments"])
        assert await socket.recv() == "in many fragments"
        await socket.send([b"\0" * 70000, b"\1" * 70000])
        assert await socket.recv() == b"\0" * 70000 + b"\1" * 70000
        await asyncio.wait_for(await socket.ping(b"hello"), 20)
        await socket.close(4321, "enough")
        assert (socket.close_code, socket.close_reason) == (4321, ""), socket.close_code


async def main():
    for _, extensions in variants():
        await talk(sys.argv[1], extensions, "v2")
    print("ok")


asyncio.run(main())
