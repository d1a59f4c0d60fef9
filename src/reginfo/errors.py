"""Errors that cross a room: raised in one, answered in another.

SipParseError, the parser's, lives beside the parser and is offered by reginfo.fast.
"""


class ReginfoError(Exception):
    """Root of what this project raises on purpose; the text is one line an operator can act on."""


class ConfigError(ReginfoError):
    """The configuration cannot be used; no part of it takes effect."""

    def __init__(self, reason: str, *, key: str = "") -> None:
        super().__init__(reason)
        self.key = key
        "Dotted key at fault, empty if no single one is."


class StoreUnavailable(ReginfoError):
    """The store cannot take the change now and kept nothing of it (503 with Retry-After)."""

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        "Seconds after which another try makes sense."


class StoreRefused(ReginfoError):
    """The store's folder is corrupt, foreign or held by another process; it was left as found."""


class FeedGap(ReginfoError):
    """The feed no longer reaches back that far; the consumer needs the full state."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"the feed begins at change {oldest}")
        self.oldest = oldest
        "First sequence number the feed still holds."


class ServerUnreachable(ReginfoError):
    """No server answers on the control socket."""
