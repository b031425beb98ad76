"""What the API promises, asked of the real database and the real Redis that .env names."""

import uuid

import pytest
from fastapi.testclient import TestClient

from app.main import app


@pytest.fixture(name="api")
def _api():
    with TestClient(app) as client:
        yield client


def test_it_says_which_version_is_well(api):
    said = api.get("/health").json()
    assert said["status"] == "ok"
    assert said["version"] == app.version


def test_it_is_ready_with_what_it_stands_on(api):
    answer = api.get("/ready")
    assert (answer.status_code, answer.json()["database"], answer.json()["redis"]) == (200, True, True)


def test_an_item_is_there_once_it_was_added(api):
    name = uuid.uuid4().hex
    number = api.post("/items", params={"name": name}).json()["id"]
    assert {"id": number, "name": name} in api.get("/items").json()


def test_an_item_without_a_name_is_refused(api):
    assert api.post("/items").status_code == 422


def test_requests_are_counted(api):
    api.get("/health")
    assert 'requests_total{path="/health",status="200"}' in api.get("/metrics").text


def test_an_upload_is_measured(api):
    assert api.post("/upload", content=b"12345").json() == {"bytes": 5}


def test_a_proxy_can_be_told_apart(api):
    assert api.get("/whoami", headers={"X-Real-IP": "192.0.2.1"}).json()["x-real-ip"] == "192.0.2.1"
