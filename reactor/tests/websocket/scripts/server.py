# Echoes over WebSocket. Prints the port that it listens on. Its argument says how it compresses.
import asyncio
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate


async def echo(socket):
    await socket.ping()
    async for message in socket:
        if isinstance(message, str) and len(message) > 2:
            third = len(message) // 3
            await socket.send([message[:third], message[third : 2 * third], message[2 * third :]])
        else:
            await socket.send(message)


async def main():
    settings = json.loads(sys.argv[1])
    extensions = None if settings is None else [Deflate(**settings)]
    server = await websockets.serve(
        echo,
        "127.0.0.1",
        0,
        compression=None,
        extensions=extensions,
        subprotocols=["v1", "v2"],
        max_size=None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
