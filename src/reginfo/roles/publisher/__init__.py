"""The publisher: an event publication agent of RFC 3903 for the registrations of this server."""

from reginfo.roles.publisher.publisher import Publisher

__all__ = ["Publisher"]
