"""The compositor: an event state compositor of RFC 3903 for registrations that other servers publish."""

from reginfo.roles.compositor.compositor import Compositor
from reginfo.roles.compositor.publication import STATE

__all__ = ["STATE", "Compositor"]
