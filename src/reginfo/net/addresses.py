"""Which flows a bound address has to do with."""

from reginfo.fast import Flow


def is_wildcard(host: str) -> bool:
    """Tell whether an IP literal stands for every address of its family."""
    return host in {"0.0.0.0", "::"}


def carries(bound: tuple[str, int], flow: Flow) -> bool:
    """Tell whether what came by a flow came to this address; a wildcard has every host of its family."""
    mine, port = bound
    host = flow.local[0]
    return port == flow.local[1] and (host == mine or (is_wildcard(mine) and (":" in mine) == (":" in host)))
