"""Puts contact events into a Redis stream, each once, those of an address-of-record in order.

    WEBHOOK_SECRET=... python redis_stream.py redis://127.0.0.1:6379/0 --stream registrations --port 8083

    [[webhook]]
    url = "http://127.0.0.1:8083/"
    secret_file = "hook.secret"

An entry has the fields id, aor, event and json.  What is delivered again within a day is recognised by its id, and
the key that remembers it is set together with the entry, so neither is there without the other.
"""

import argparse
import json

import redis.asyncio
import redis.exceptions
from receiver import Event, serve

REMEMBERED = 86_400  # seconds
LENGTH = 1_000_000  # entries the stream is cut at, roughly

# KEYS: what remembers the event, the stream; ARGV: seconds, length, id, aor, event, json
ADD = """
if redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[1]) then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*',
        'id', ARGV[3], 'aor', ARGV[4], 'event', ARGV[5], 'json', ARGV[6])
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("url", help="of the Redis server")
    parser.add_argument("--stream", default="registrations")
    parser.add_argument("--port", type=int, default=8083)
    arguments = parser.parse_args()
    client = redis.asyncio.from_url(arguments.url, socket_timeout=5)
    add = client.register_script(ADD)

    async def handle(event: Event) -> bool:
        # Both keys in one slot, so that a cluster takes the script as well.
        keys = [f"{{{arguments.stream}}}:{event['id']}", arguments.stream]
        try:
            await add(keys, [REMEMBERED, LENGTH, event["id"], event["aor"], event["event"], json.dumps(event)])
        except redis.exceptions.RedisError:
            return False
        return True

    serve(handle, arguments.port)


if __name__ == "__main__":
    main()
