"""A window of requests without an answer, kept full."""

import select
import time
from collections.abc import Sequence

import click

from reginfo.fast import DatagramSocket, Flow

BATCH = 64
PATIENCE = 10.0  # seconds of silence
SPIN_SECONDS = 0.002  # without an answer until this sleeps: asleep, it has to be woken by the server


def pour(sender: DatagramSocket, flow: Flow, requests: Sequence[bytes], window: int) -> None:
    """Send requests, looking for answers all the time; raises if one is refused."""
    sent = answered = 0
    heard = time.monotonic()
    while answered < len(requests):
        room = min(window - (sent - answered), BATCH, len(requests) - sent)
        if room > 0:
            sent += sender.send([(octets, flow) for octets in requests[sent : sent + room]])
        answers = sender.receive(BATCH)
        for octets, _ in answers:
            if not octets.startswith(b"SIP/2.0 2"):
                raise click.ClickException(f"{flow.text} answered {octets[:200]!r}")
        answered += len(answers)
        now = time.monotonic()
        if answers:
            heard = now
        elif now - heard > SPIN_SECONDS and not select.select([sender.fileno()], [], [], PATIENCE)[0]:
            raise click.ClickException(f"{flow.text} left {sent - answered} requests without an answer")
