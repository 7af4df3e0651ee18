# Sends compressed messages of many sizes, whole and in fragments, with each offer of window bits and of
# contexts, as sections 12 and 13 of Autobahn's suite do, and expects them back. Its arguments are the URI and
# the most bytes of a case. Prints "ok" at the end.
import asyncio
import json
import random
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

MESSAGES = 1000
# The size of the messages, and of their fragments; 0 if they are whole.
SIZES = [(16 << 2 * power, 0) for power in range(5)]
SIZES += [(size, 0) for size in [8192, 16384, 32768, 65536, 131072]]
SIZES += [(size, 256) for size in [8192, 16384, 32768, 65536, 131072]]
SIZES += [(131072, fragment) for fragment in [1024, 4096, 32768]]


def offers():
    both = lambda takes_over, bits: Deflate(
        server_no_context_takeover=not takes_over, server_max_window_bits=bits, client_max_window_bits=True
    )
    yield [both(True, None)]
    yield [both(False, None)]
    yield [both(True, 9)]
    yield [both(True, 15)]
    yield [both(False, 9)]
    yield [both(False, 15)]
    yield [both(False, 9), both(False, None), both(True, None)]


def data():
    noise = random.Random(12)
    events = [{"event": "trade", "id": number, "price": noise.random()} for number in range(4000)]
    yield json.dumps(events)
    yield noise.randbytes(200_000)


def messages(data, size):
    # From one message to the next, so that each resembles those before.
    at = 0
    while True:
        end = (at + size) % len(data)
        yield data[at:end] if at < end else data[at:] + data[:end]
        at = end


async def case(uri, extensions, data, size, fragment, count):
    async with websockets.connect(
        uri, compression=None, extensions=extensions, max_size=None, ping_interval=None
    ) as socket:
        assert socket.extensions, "it does not compress"
        source = messages(data, size)
        for _ in range(count):
            message = next(source)
            if fragment:
                await socket.send([message[at : at + fragment] for at in range(0, size, fragment)])
            else:
                await socket.send(message)
            assert await socket.recv() == message, (size, fragment)


async def main():
    uri, budget = sys.argv[1], int(sys.argv[2])
    for extensions in offers():
        for content in data():
            for size, fragment in SIZES:
                count = max(4, min(MESSAGES, budget // size))
                await case(uri, extensions, content, size, fragment, count)
    print("ok")


asyncio.run(main())
