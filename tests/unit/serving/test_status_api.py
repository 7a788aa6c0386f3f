"""Health, metrics, the model, and the OpenAPI document."""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from soundmark.serving.archives import open_archives
from support.archives import tone_archive
from support.serving import running
from unit.serving.test_classify_api import problem


def test_health(server):
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"status": "ready"}


def test_the_model_is_described_as_by_show(server, detector):
    found = server.get("/v1/model").json()
    assert found["classes"] == ["low", "high", "background"]
    assert found["card"]["window_s"] == 1.0
    assert dict(found["summary"])["classes"] == "3, single-label: low, high, background"
    assert found["limits"]["upload_bytes"] == 1_000_000_000


def test_metrics_are_counted(detector, sound):
    with running(detector) as server:
        events = server.classify(sound).json()[0]["events"]
        server.classify(b"no sound")
        server.get("/someone/tries/names")
        text = server.get("/metrics")
    assert text.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.text)
        for sample in family.samples
    }
    assert values["soundmark_requests_total", "/v1/classify", "200", "POST"] == 1
    assert values["soundmark_requests_total", "/v1/classify", "422", "POST"] == 1
    assert values["soundmark_requests_total", "404", "other", "other"] == 1
    assert values["soundmark_analyzed_seconds_total",] == pytest.approx(12.0)
    assert values["soundmark_events_total",] == len(events)
    assert values["soundmark_uploaded_bytes_total",] == len(sound) + len(b"no sound")
    assert values["soundmark_request_seconds_count", "/v1/classify"] == 2
    assert values["soundmark_uploads_open",] == 0


def test_methods_that_a_client_invents_are_counted_together(server):
    for n in range(3):
        assert requests.request(f"INVENTED{n}", f"{server.url}/healthz", timeout=10).status_code == 405
    assert "INVENTED" not in server.get("/metrics").text


def test_an_unknown_path_and_a_wrong_method(server):
    assert problem(server.get("/v2/classify"), 404) == 'there is nothing at "/v2/classify": see /v1/openapi.json.'
    assert problem(server.get("/v1/classify"), 405) == 'GET is not supported at "/v1/classify": use POST.'


@pytest.fixture(scope="module")
def archive_server(tmp_path_factory):
    """A server with an archive of 12 windows, whose reviews are kept."""
    folder = tmp_path_factory.mktemp("archive")
    opened = open_archives([tone_archive(folder, n=2)])
    with running(opened[0].index.model, archives=opened, corrections=folder / "corrections") as found:
        yield found


CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.mark.slow
@pytest.mark.parametrize("examples", [2, pytest.param(500, marks=pytest.mark.long(300))])
def test_the_open_api_document_is_true(archive_server, examples):
    """No 5xx, no undocumented status, for requests that schemathesis generates from the document."""
    server = archive_server
    schema = schemathesis.openapi.from_url(f"{server.url}/v1/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 24  # all but the document itself
    for operation in operations:

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(checks=CHECKS)

        check()
