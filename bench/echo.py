"""A server that sends back what it is sent: uvicorn and websockets as in the hub, and nothing else.

``python -m bench.echo`` prints its port.
"""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from bench.loop import run


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Serve one WebSocket."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def main() -> None:
    """Serve until terminated."""
    config = uvicorn.Config(
        echo,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="error",
    )
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
