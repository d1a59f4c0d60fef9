from collections.abc import Sequence
from typing import final

@final
class HeaderTemplate:
    def __init__(self, headers: Sequence[tuple[str, str]]) -> None: ...
    def fill(self, *values: str) -> bytes: ...
