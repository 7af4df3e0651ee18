# Echoes over WebSocket. Prints the port that it listens on. Its first argument says how it compresses. If
# a certificate and a key follow, it speaks TLS. A text "close CODE REASON" makes it close.
import asyncio
import json
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate


async def echo(socket):
    await socket.ping()
    async for message in socket:
        words = message.split(" ", 2) if isinstance(message, str) else []
        if words[:1] == ["close"]:
            await socket.close(int(words[1]), words[2])
            return
        elif isinstance(message, str) and len(message) > 2:
            third = len(message) // 3
            await socket.send([message[:third], message[third : 2 * third], message[2 * third :]])
        else:
            await socket.send(message)


async def main():
    settings = json.loads(sys.argv[1])
    extensions = None if settings is None else [Deflate(**settings)]
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2], sys.argv[3])
    server = await websockets.serve(
        echo,
        "127.0.0.1",
        0,
        compression=None,
        extensions=extensions,
        subprotocols=["v1", "v2"],
        max_size=None,
        ssl=tls,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
