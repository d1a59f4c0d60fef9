from collections.abc import Iterable
from typing import Final, final

from reginfo._fast.sip_parser import SipMessage

GO_ON: Final[int]
NO_ANSWER: Final[int]
UNKNOWN_METHOD: Final[int]
METHOD_NOT_ALLOWED: Final[int]
URI_TOO_LONG: Final[int]
UNSUPPORTED_SCHEME: Final[int]
FOREIGN_DOMAIN: Final[int]
UNKNOWN_EXTENSION: Final[int]
AOR_NOT_SIP: Final[int]
AOR_OF_OTHER_DOMAIN: Final[int]

@final
class Screen:
    def __init__(
        self,
        methods: Iterable[str],
        domains: Iterable[str],
        addresses: Iterable[str],
        max_uri: int,
        extensions: Iterable[str] = (),
    ) -> None: ...
    def check(self, request: SipMessage, here: str = "") -> int: ...
    def unknown(self, request: SipMessage) -> list[str]: ...
