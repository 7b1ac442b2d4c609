"""redis-py client of one connection, without its retries and telemetry: these take half of the time of a search."""

import hiredis
import redis


class DirectClient(redis.Redis):
    """Client that sends a command and parses its reply, and nothing else."""

    @classmethod
    def of(cls, url):
        return cls.from_url(url, single_connection_client=True)

    def execute_command(self, name, *arguments, **options):
        self.connection.send_packed_command([hiredis.pack_command((*name.split(), *arguments))])
        return self.parse_response(self.connection, name, **options)
