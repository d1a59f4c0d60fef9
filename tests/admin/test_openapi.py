"""The description of the HTTP interface, held to what a running server does with what fits it and what does not."""

from collections.abc import Generator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.admin.site import Site
from tests.dashboard.site import register
from tests.server_fixture import RunningServer, running_server

pytestmark = pytest.mark.network

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
ENDLESS = "/api/v1/events"
MAX_LINE = 7_000
"Octets of a path; a longer request line is refused as no HTTP."


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("openapi"))


@pytest.fixture(scope="module")
def server(site: Site) -> Generator[RunningServer, None, None]:
    with running_server(site.folder, ["example.com"], site.options) as server:
        register(server, "alice")
        yield server


@pytest.mark.parametrize("mode", GenerationMode)
def test_the_server_does_as_it_is_described(server: RunningServer, site: Site, mode: GenerationMode) -> None:
    """What fits the description, and what does not."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{site.port}/openapi.json")
    shown = {"Authorization": f"Bearer {site.token}"}
    for found in schema.exclude(path=ENDLESS).get_all_operations():
        assert isinstance(found, Ok)

        @settings(max_examples=15, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(case=found.ok().as_strategy(generation_mode=mode))
        def ask(case: "schemathesis.Case[Any]") -> None:
            assume(len(case.formatted_path) < MAX_LINE)
            case.call_and_validate(headers=shown, checks=CHECKS)

        ask()


def test_every_operation_is_described_with_its_token(site: Site, server: RunningServer) -> None:
    document = site.ask("GET", "/openapi.json").body
    assert (document["openapi"], document["security"]) == ("3.1.0", [{"token": []}])
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    assert all("401" in operation["responses"] for operation in operations.values())
    assert set(operations[f"GET {ENDLESS}"]["responses"]["200"]["content"]) == {"text/event-stream"}
