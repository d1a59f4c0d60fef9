"""The configuration: one TOML file, environment and command line over it, strict about every key.

A value is looked up on the command line, then in the environment (`REGINFO_REGISTRAR__MAX_EXPIRES`), then in
the file, then in the defaults of the sections.  Nothing is guessed: an unknown key, a wrong type or a number out
of range is a ConfigError that says where it stands and what is allowed.  docs/configuration.md is the reference.
"""

from reginfo.config.ims import ImplicitSet, PublicIdentity, covering
from reginfo.config.peer import PeerSection
from reginfo.config.sections import (
    AdminSection,
    AuthSection,
    CompositorSection,
    Config,
    DigestAlgorithm,
    ImsSection,
    LimitsSection,
    LogSection,
    NotifierSection,
    PuaReginfoSection,
    RegistrarSection,
    StoreSection,
    TlsSection,
    WebsocketSection,
)
from reginfo.config.sources import KEYS, Loaded, load_config, render
from reginfo.config.trace import TraceSection
from reginfo.config.values import Listener, canonical_domain, parse_listener
from reginfo.config.webhook import MAX_PATTERNS, EventWord, WebhookSection

__all__ = [
    "KEYS",
    "MAX_PATTERNS",
    "AdminSection",
    "AuthSection",
    "CompositorSection",
    "Config",
    "DigestAlgorithm",
    "EventWord",
    "ImplicitSet",
    "ImsSection",
    "LimitsSection",
    "Listener",
    "Loaded",
    "LogSection",
    "NotifierSection",
    "PeerSection",
    "PuaReginfoSection",
    "PublicIdentity",
    "RegistrarSection",
    "StoreSection",
    "TlsSection",
    "TraceSection",
    "WebhookSection",
    "WebsocketSection",
    "canonical_domain",
    "covering",
    "load_config",
    "parse_listener",
    "render",
]
