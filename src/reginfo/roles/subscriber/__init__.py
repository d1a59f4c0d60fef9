"""The subscriber: RFC 6665 section 4.1 for the registrations of other servers."""

from reginfo.roles.subscriber.subscriber import Heard, Subscriber
from reginfo.roles.subscriber.subscription import STATE, State, Subscription, TooManyFollowed

__all__ = ["STATE", "Heard", "State", "Subscriber", "Subscription", "TooManyFollowed"]
