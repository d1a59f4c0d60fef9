"""Temporary GRUUs against the reference, over registers, refreshes, ends and restarts (GRU-3, GRU-4, GRU-6)."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reginfo.store.table import TableStore
from tests.harness import House, contact, request
from tests.reference.gruu import ReferenceGruus

AOR = "sip:alice@example.com"
INSTANCES = tuple(f"urn:uuid:00000000-0000-4000-8000-00000000000{number}" for number in range(2))
CONTACTS = tuple(f"sip:alice@192.0.2.{number}:5060" for number in range(3))

instances = st.sampled_from(INSTANCES)
contacts = st.sampled_from(CONTACTS)
call_ids = st.sampled_from(["one", "two"])


class GruuMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.house = House(TableStore(), gruu=True)
        self.reference = ReferenceGruus()
        self.cseq = 0

    def _pass_time(self, seconds: float) -> None:
        self.house.sleep(seconds)
        self.reference.expire(self.house.now_ms)

    @rule(instance=instances, uri=contacts, call_id=call_ids, expires=st.sampled_from([60, 90, 600]))
    def register(self, instance: str, uri: str, call_id: str, expires: int) -> None:
        self._pass_time(0.1)
        self.cseq += 1
        row = contact(uri, expires, f';+sip.instance="<{instance}>"')
        octets = request("REGISTER", row, "Supported: gruu", call_id=call_id, cseq=self.cseq)
        answer = self.house.ask(octets)
        assert answer.status == 200
        self.reference.register(instance, uri, call_id, self.house.now_ms + expires * 1000)
        agent = self.reference.agent(instance)
        given = {dict(one.parameters)["temp-gruu"] for one in answer.contacts if one.instance == instance}
        [made] = given
        assert made is not None
        assert made.strip('"') not in agent.good + agent.bad
        agent.good.append(made.strip('"'))
        assert [one.parameters for one in self.house.ask(octets).contacts] == [
            one.parameters for one in answer.contacts
        ]

    @rule(uri=contacts)
    def remove(self, uri: str) -> None:
        self.cseq += 1
        assert self.house.register(contact(uri, 0), cseq=self.cseq).status == 200
        self.reference.remove(uri)

    @rule()
    def remove_all(self) -> None:
        self.cseq += 1
        assert self.house.register("Contact: *", "Expires: 0", cseq=self.cseq).status == 200
        for uri in CONTACTS:
            self.reference.remove(uri)

    @rule(seconds=st.sampled_from([1, 45, 61]))
    def wait(self, seconds: float) -> None:
        self._pass_time(seconds)

    @rule()
    def restart(self) -> None:
        self.house.crash()
        self._pass_time(0.1)

    @invariant()
    def good_ones_lead_somewhere_and_bad_ones_nowhere(self) -> None:
        for instance, agent in self.reference.agents.items():
            for uri, status in [(uri, 200) for uri in agent.good] + [(uri, 404) for uri in agent.bad[-8:]]:
                assert self.house.ask(request("OPTIONS", uri=uri)).status == status
            public = f"{AOR};gr={instance}"
            assert self.house.ask(request("OPTIONS", uri=public)).status == (200 if agent.contacts else 480)


TestGruus = GruuMachine.TestCase
TestGruus.settings = settings(stateful_step_count=20, deadline=None)
