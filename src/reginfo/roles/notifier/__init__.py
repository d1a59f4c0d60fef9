"""The notifier: RFC 6665 section 4.2 for the event package of RFC 3680."""

from reginfo.roles.notifier.notifier import Notifier
from reginfo.roles.notifier.subscription import TOLD

__all__ = ["TOLD", "Notifier"]
