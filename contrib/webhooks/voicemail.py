"""Tells a mailbox application when a user comes online, so that it can say what waits (RFC 3842).

    WEBHOOK_SECRET=... python voicemail.py http://127.0.0.1:9000/online --port 8082

    [[webhook]]
    url = "http://127.0.0.1:8082/"
    events = ["registered", "created"]
    secret_file = "hook.secret"

The application is told of every new contact: its lamp is not lit, also where the user is online with another one.
"""

import argparse

from receiver import Event, post, serve


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("application", help="where it is told who is online")
    parser.add_argument("--port", type=int, default=8082)
    arguments = parser.parse_args()

    async def handle(event: Event) -> bool:
        _, _, mailbox = event["aor"].partition(":")
        online = {"mailbox": mailbox, "contact": event["contact"]["uri"], "since": event["time"]}
        return await post(arguments.application, online, event["id"])

    serve(handle, arguments.port)


if __name__ == "__main__":
    main()
