"""Applications that are told of contact events by HTTP: `[[webhook]]`."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reginfo.config.section import Section
from reginfo.config.values import check_url, endpoint_of
from reginfo.errors import ConfigError

EventWord = Literal[
    "registered",
    "created",
    "refreshed",
    "shortened",
    "expired",
    "deactivated",
    "probation",
    "unregistered",
    "rejected",
]

MAX_WEBHOOKS = 32  # each reads every change
MAX_PATTERNS = 100  # each is held against every change

# It is part of the key of a cursor.
_WEBHOOK_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

# token of RFC 3261 section 25.1, as far as feature tags need it
_FEATURE_TAG = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}")


class WebhookSection(Section, frozen=True, kw_only=True):
    """An application that is told of contact events by HTTP."""

    url: str
    "Where deliveries are posted to, `https:` or `http:`."
    name: str = ""
    "What is owed is remembered under it. Within a Config never empty: unset, it is host and path of the URL."
    events: tuple[EventWord, ...] = ()
    "Events of RFC 3680 section 5.2 to tell; empty: all but `refreshed`."
    aors: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] = ()
    "Patterns of the addresses-of-record to tell of, `*` for any text; empty: all."
    feature_tags: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] = ()
    "Contact parameters: only contacts that have every one of them are told of."
    secret_file: str = ""
    "File whose first line is the secret that deliveries are signed with."
    secret_env: str = ""
    "Environment variable that holds the secret."
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 10.0
    "Seconds within which a delivery has to be answered."
    max_pending: Annotated[int, Meta(ge=1, le=50_000)] = 10_000
    "Events that wait; for a new one the oldest is dropped."
    max_in_flight: Annotated[int, Meta(ge=1, le=64)] = 16
    "Deliveries under way at once, each of another address-of-record."

    def __post_init__(self) -> None:
        check_url(self.url, "webhook.url")
        unnamed = endpoint_of(self.url)
        msgspec.structs.force_setattr(self, "name", self.name or unnamed)
        if self.name != unnamed and not _WEBHOOK_NAME.fullmatch(self.name):
            raise ConfigError(
                f"webhook.name {self.name!r} must be 1 to 64 letters, digits, -, _ or .", key="webhook.name"
            )
        for tag in self.feature_tags:
            if not _FEATURE_TAG.fullmatch(tag):
                raise ConfigError(
                    f"webhook.feature_tags: {tag!r} is no name of a Contact parameter", key="webhook.feature_tags"
                )
