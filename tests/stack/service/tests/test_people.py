"""Who may log in, and what the knowledge base says: asked of the real database that .env names."""

import io
import uuid

import pytest
from fastapi.testclient import TestClient

from app import knowledge, users
from app.main import app

PASSWORD = "seven wild horses"


@pytest.fixture(name="api")
def _api():
    with TestClient(app) as client:
        yield client


def test_a_user_is_made_once_and_may_log_in_with_the_password_alone(api):
    name = f"u{uuid.uuid4().hex[:12]}"
    assert users.create(name, "reader", PASSWORD)
    assert not users.create(name, "admin", "another password")
    assert api.post("/login", json={"name": name, "password": PASSWORD}).json() == {"name": name, "role": "reader"}
    for wrong in ({"name": name, "password": "x"}, {"name": "nobody", "password": PASSWORD}):
        assert api.post("/login", json=wrong).status_code == 401


@pytest.mark.parametrize("password", ["short", "this is ada herself", "aaaaaaaaaaaabbbb"])
def test_a_weak_password_is_refused(password, monkeypatch, capsys):
    assert users.weak("ada", password)
    monkeypatch.setattr("sys.argv", ["users", "ada", "admin"])
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    assert users.main().startswith("error: this password will not do: ")
    assert capsys.readouterr().out == ""


def test_a_role_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["users", "ada", "king"])
    assert users.main().startswith("usage: ")


def test_the_knowledge_base_is_what_the_folder_says(api, tmp_path):
    (tmp_path / "refunds.md").write_text("# Refunds\n\nIt takes three days.\n", encoding="utf-8")
    assert knowledge.fill(tmp_path) == 1
    assert api.get("/articles", params={"q": "three days"}).json() == [{"name": "refunds", "title": "Refunds"}]
    (tmp_path / "bad.md").write_text("no title\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the first line has to be"):
        knowledge.fill(tmp_path)
    with pytest.raises(ValueError, match="there is no file"):
        knowledge.fill(tmp_path / "nowhere")


def test_it_says_how_much_there_is(api):
    before = api.get("/stats").json()["items"]
    api.post("/items", params={"name": "one more"})
    assert api.get("/stats").json()["items"] == before + 1
    files = api.get("/files/stats").json()
    api.post("/upload", content=b"12345")
    assert api.get("/files/stats").json() == {"files": files["files"] + 1, "bytes": files["bytes"] + 5}
