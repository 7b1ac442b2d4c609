"""A server that always gives the same answer, at next to no cost: what stress.load can do at most.

python -m stress.fixed PORT
"""

import asyncio
import json
import sys

ITEM = json.dumps({"id": 1, "name": "item 1", "quantity": 0, "price": "31.99", "updated_at": "2026-11-22T19:39:19Z"})
ANSWER = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ITEM)}\r\n\r\n{ITEM}".encode()


class Fixed(asyncio.Protocol):
    """Answers each request of a connection, which is so small that it comes in one piece."""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._transport.write(ANSWER)


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
