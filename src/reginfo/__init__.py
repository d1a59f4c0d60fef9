"""reginfo: a SIP registration engine.

Nothing is imported eagerly: `import reginfo.fast` must load neither asyncio nor a socket nor a store.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reginfo.admin.signatures import verify_webhook
    from reginfo.config import Config, load_config
    from reginfo.engine import KEEP
    from reginfo.fast import Outcome
    from reginfo.server import Server

__all__ = ["KEEP", "Config", "Outcome", "Server", "__version__", "load_config", "verify_webhook"]

__version__: str

_HOMES = {
    "KEEP": "reginfo.engine",
    "Config": "reginfo.config",
    "Outcome": "reginfo.fast",
    "Server": "reginfo.server",
    "load_config": "reginfo.config",
    "verify_webhook": "reginfo.admin.signatures",
}


def __getattr__(name: str) -> object:
    """Import what is asked for on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("reginfo")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
