"""TCP proxy that hangs (forwards nothing, closes nothing) or cuts a reply in half, on request."""

import asyncio
import threading
import time


class Proxy:
    """Forwards 127.0.0.1:port to a Unix socket, in an event loop in its own thread."""

    def __init__(self, name, path):
        self.name = name
        self.port = 0
        self.is_hanging = False
        self.path = path
        self._connections = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {name}", daemon=True)

    def start(self):
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=200), self._loop
        ).result(10)
        self.port = server.sockets[0].getsockname()[1]

    def stop(self):
        """Close every connection. The thread is a daemon and ends with the process."""
        self._call(self._close_all)

    def hang(self):
        """Stop forwarding without closing; new connections are accepted and hang as well."""
        self._call(self._hang)

    def release(self):
        """Forward new connections again. Connections that hung stay dead until their client closes them."""
        self.is_hanging = False

    def cut(self):
        """Close each open connection in the middle of its next reply."""
        self._call(self._arm)

    def uncut(self):
        """Cancel cut() for connections without a reply since; return the number of replies that were cut."""
        return self._call(self._disarm)

    def waiting_ports(self, longer_than_s):
        """Return the client ports of connections whose request has waited longer than this for its reply."""
        return self._call(lambda: self._waiting(time.monotonic() - longer_than_s))

    def _call(self, function):
        async def call():
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _hang(self):
        self.is_hanging = True
        for connection in self._connections:
            connection.is_dead = True

    def _arm(self):
        self._armed = {connection for connection in self._connections if not connection.is_dead}
        for connection in self._armed:
            connection.is_to_cut = True

    def _disarm(self):
        spared = [connection for connection in self._armed if connection.is_to_cut]
        for connection in spared:
            connection.is_to_cut = False
        return len(self._armed) - len(spared)

    def _waiting(self, asked_before):
        asked = [one for one in self._connections if one.asked_at is not None and one.asked_at <= asked_before]
        return {connection.port for connection in asked}

    def _close_all(self):
        for connection in self._connections:
            connection.task.cancel()

    async def _accept(self, reader, writer):
        connection = Connection(reader, writer, is_dead=self.is_hanging)
        self._connections.add(connection)
        try:
            await connection.forward(self.path)
        except asyncio.CancelledError:
            pass  # from stop(); asyncio would log it as an error
        finally:
            self._connections.discard(connection)


class Connection:
    """Connection of a client and the connection to the server that belongs to it."""

    def __init__(self, reader, writer, is_dead):
        self.port = writer.get_extra_info("peername")[1]
        self.task = asyncio.current_task()
        self.is_dead = is_dead
        self.is_to_cut = False
        self.asked_at = None
        self._reader = reader
        self._writer = writer

    async def forward(self, path):
        """Forward until one side closes; a dead connection ends only when its client closes it."""
        writer = None
        try:
            reader, writer = await asyncio.open_unix_connection(path)
            pumps = [asyncio.ensure_future(self._ask(writer)), asyncio.ensure_future(self._answer(reader))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the server is away: the connection of the client is closed
        finally:
            self._writer.close()
            if writer is not None:
                writer.close()

    async def _ask(self, writer):
        while data := await self._reader.read(65536):
            if not self.is_dead:
                self.asked_at = time.monotonic()
                writer.write(data)
                await writer.drain()

    async def _answer(self, reader):
        while data := await reader.read(65536):
            self.asked_at = None
            if self.is_dead:
                continue
            if self.is_to_cut:
                self._writer.write(data[: len(data) // 2])
                self.is_to_cut = False
                return
            self._writer.write(data)
            await self._writer.drain()
        while self.is_dead:
            await asyncio.sleep(3600)
