"""Which temporary GRUUs are good, written to be read: RFC 5627 section 5.1 on lists of what was handed out."""

from dataclasses import dataclass, field


@dataclass
class Bound:
    """A contact of an instance."""

    call_id: str
    at: int
    "When it was registered last, in the order of REGISTERs."
    until_ms: int


@dataclass
class Agent:
    """What is known of one instance of an AoR."""

    contacts: dict[str, Bound] = field(default_factory=dict)
    good: list[str] = field(default_factory=list)
    "Temporary GRUUs, as handed out."
    bad: list[str] = field(default_factory=list)

    def spoil(self) -> None:
        self.bad += self.good
        self.good = []


class ReferenceGruus:
    """The instances of one AoR."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self._count = 0

    def agent(self, instance: str) -> Agent:
        return self.agents.setdefault(instance, Agent())

    def expire(self, now_ms: int) -> None:
        for agent in self.agents.values():
            agent.contacts = {uri: one for uri, one in agent.contacts.items() if one.until_ms > now_ms}
            if not agent.contacts:
                agent.spoil()

    def register(self, instance: str, uri: str, call_id: str, until_ms: int) -> None:
        """Take a REGISTER that was granted; what it is answered with is good() from now on."""
        for name, other in self.agents.items():
            if name != instance and other.contacts.pop(uri, None) is not None and not other.contacts:
                other.spoil()
        agent = self.agent(instance)
        newest = max(agent.contacts.values(), key=lambda one: one.at, default=None)
        if newest is None or newest.call_id != call_id:
            agent.spoil()
        self._count += 1
        agent.contacts[uri] = Bound(call_id, self._count, until_ms)

    def remove(self, uri: str) -> None:
        for agent in self.agents.values():
            if agent.contacts.pop(uri, None) is not None and not agent.contacts:
                agent.spoil()
