"""The registrar: RFC 3261 section 10.3 decided on a working copy of one AoR.

Pure: a request, the draft of the AoR's bindings and the time go in, an Outcome comes out, and the draft holds the
bindings as they would be.  Whoever called commits the draft, or throws it away.  The rule for contacts is compiled
(Draft.register); here is what is granted, and what each verdict is answered with.
"""

from reginfo import fast
from reginfo.config import Config
from reginfo.fast import Draft, Flow, GruuIndexes, RegisterPolicy, SipMessage
from reginfo.model import ACCEPTED, Outcome
from reginfo.sip import outbound
from reginfo.sip.ims import ImplicitSets

_NOT_ALL_SIPS = Outcome(400, "sips Contact needs sips everywhere")


def granted_headers(config: Config) -> list[tuple[str, str]]:
    """Return what a 200 to any REGISTER says beside its contacts (REG-18, SVR-1); not of gruu, as GRU-5 wants it."""
    supported = [tag for tag in config.extensions if tag != "gruu"]
    routes = [("Service-Route", f"<{uri}>") for uri in config.registrar.service_route]
    return [*routes, ("Supported", ", ".join(supported))]


class Registrar:
    """Decides REGISTER requests under one policy."""

    def __init__(self, config: Config, gruus: GruuIndexes | None = None) -> None:
        """With gruus, every instance has GRUUs."""
        section = config.registrar
        self._policy = RegisterPolicy(
            default_expires=section.default_expires,
            min_expires=section.min_expires,
            max_expires=section.max_expires,
            jitter=section.expires_jitter,
            max_contacts=section.max_contacts,
            replaces_oldest=section.max_contacts_policy == "replace-oldest",
            max_contacts_per_request=config.limits.max_contacts_per_request,
            lazy_path=section.path_mode == "lazy",
            gruus=gruus,
        )
        self._outcomes = {
            fast.GRANTED: ACCEPTED,
            fast.TOO_BRIEF: Outcome(423, headers=(("Min-Expires", str(section.min_expires)),)),
            fast.OUT_OF_ORDER: Outcome(500, "CSeq is not higher than the registered one"),
            fast.STAR_WITHOUT_ZERO: Outcome(400, "Contact * needs Expires: 0"),
            fast.TOO_MANY: Outcome(403, "Too many contacts"),
            fast.TOO_MANY_AT_ONCE: Outcome(403, "Too many contacts in one request"),
            fast.PATH_UNSUPPORTED: Outcome(420, headers=(("Unsupported", "path"),)),
            fast.PATH_STRICT: Outcome(400, "Path: a URI without lr"),
            fast.CONTACT_LOOPS: Outcome(403, "Contact leads back to its address-of-record"),
            fast.BULK_CONTACT: Outcome(400, "Contact with bnc"),
        }
        self._any_path = section.ob_on_any_path
        self._binds_behind_nat = section.end_with_connection_behind_nat
        applied = ("Require", outbound.OPTION_TAG)
        timer = (("Flow-Timer", str(section.flow_timer)),) if section.flow_timer else ()
        self._outbound_accepted = {
            True: Outcome(200, headers=(applied, *timer)),
            False: Outcome(200, headers=(applied,)),
        }
        "By whether the flow is direct."

    @property
    def plain(self) -> tuple[RegisterPolicy, dict[int, Outcome]] | None:
        """What decides a REGISTER over UDP without SIPS and outbound as decide() does, and what each verdict comes to.

        None if that is not all there is to it.
        """
        return self._policy, self._outcomes

    def decide(self, request: SipMessage, draft: Draft, received: str, flow: Flow, spread: int, now_ms: int) -> Outcome:
        """Bind, refresh or remove what the request asks for; all of it or nothing (REG-11).

        received is the source as a SIP URI where it differs from the Via, else empty.  spread, 0 to 65,535 and
        drawn for this request, places the granted time inside the configured jitter.
        """
        if request.has_sips_contact and not _sips_throughout(request):
            return _NOT_ALL_SIPS
        uses_outbound = outbound.judge(request, any_path=self._any_path) if request.has_reg_id else False
        if isinstance(uses_outbound, Outcome):
            return uses_outbound
        ends_with = flow.identity if self._is_flow_bound(request, flow, uses_outbound) else ""
        verdict = draft.register(request, self._policy, spread, received, now_ms, ends_with, uses_outbound)
        if uses_outbound and verdict == fast.GRANTED:
            return self._outbound_accepted[outbound.is_direct(request)]
        return self._outcomes[verdict]

    def _is_flow_bound(self, request: SipMessage, flow: Flow, uses_outbound: bool) -> bool:
        """Tell whether what a request binds ends with the flow it came by: only if nothing else leads to the phone.

        The flow of a request that a proxy passed on is the proxy's.
        """
        if not outbound.is_direct(request):
            return False
        if uses_outbound or flow.transport in ("ws", "wss"):  # RFC 5626 section 6, RFC 7118 section 5
            return True
        return flow.reliable and self._binds_behind_nat and outbound.is_behind_nat(request, flow.host)


class ImsRegistrar(Registrar):
    """Tells who is registered beside the identity that a REGISTER names (IMS-5)."""

    def __init__(self, config: Config, gruus: GruuIndexes | None, sets: ImplicitSets) -> None:
        super().__init__(config, gruus)
        self._sets = sets

    @property
    def plain(self) -> None:
        """None: every 200 tells the identities."""
        return None

    def decide(self, request: SipMessage, draft: Draft, received: str, flow: Flow, spread: int, now_ms: int) -> Outcome:
        """Bind, refresh or remove what the request asks for, for every identity of the set."""
        outcome = super().decide(request, draft, received, flow, spread, now_ms)
        if outcome.status != 200:
            return outcome
        associated = ("P-Associated-URI", self._sets.associated(draft.aor))
        return Outcome(200, outcome.reason, (*outcome.headers, associated))


def _sips_throughout(request: SipMessage) -> bool:
    """Tell whether Request-URI, Contacts and Path are all sips (REG-15, RFC 5630 5.2)."""
    uris = [request.request_uri]
    uris += [contact.uri for contact in request.contacts]
    uris += [hop.uri for hop in request.path]
    return all(uri[:5].lower() == "sips:" for uri in uris)
