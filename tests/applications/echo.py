"""A WebSocket server: sends every message back. The first argument is the path of its socket."""

import asyncio
import logging
import os
import resource
import sys

import websockets


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    # Whoever only looks whether somebody listens says nothing.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    async with websockets.unix_serve(echo, sys.argv[1], ping_interval=None, backlog=1024):
        await asyncio.Future()


# The server's workers run as another user.
os.umask(0)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
asyncio.run(main())
