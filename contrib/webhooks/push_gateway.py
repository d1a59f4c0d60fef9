"""Wakes a phone by its push service when it should register again (RFC 8599).

    WEBHOOK_SECRET=... python push_gateway.py http://127.0.0.1:9000/push --port 8081

    [[webhook]]
    url = "http://127.0.0.1:8081/"
    events = ["shortened", "deactivated", "expired"]
    secret_file = "hook.secret"

A phone says where it can be woken in the URI of its Contact: pn-provider, pn-prid and pn-param.  They are posted to
the push endpoint as JSON, with what has happened.
"""

import argparse
from typing import Any

from receiver import Event, post, serve

from reginfo.fast import parse_uri


def push_of(event: Event) -> dict[str, Any] | None:
    """Return what the push service needs to wake the phone; None if the phone has named none."""
    parameters = {name.lower(): value for name, value in parse_uri(event["contact"]["uri"]).parameters}
    if not parameters.get("pn-provider") or not parameters.get("pn-prid"):
        return None
    return {
        "provider": parameters["pn-provider"],
        "prid": parameters["pn-prid"],
        "param": parameters.get("pn-param"),
        "aor": event["aor"],
        "reason": event["event"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("endpoint", help="where pushes are posted to")
    parser.add_argument("--port", type=int, default=8081)
    arguments = parser.parse_args()

    async def handle(event: Event) -> bool:
        push = push_of(event)
        return push is None or await post(arguments.endpoint, push, event["id"])

    serve(handle, arguments.port)


if __name__ == "__main__":
    main()
