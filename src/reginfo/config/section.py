"""What all sections of the configuration are made of."""

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Octets = Annotated[int, Meta(ge=512, le=2**24)]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the file; field order is the order of --print-config."""
