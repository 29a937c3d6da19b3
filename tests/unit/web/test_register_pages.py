"""The pages on which a server is registered, changed and trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from clusters.fingerprints import fingerprint
from clusters.models import Server
from clusters.services import host_key_record, ssh_key_set
from clusters.ssh_keys import key_pair_made
from tasks.models import Job
from tests.factories import ServerFactory
from tests.unit.tasks.test_registration import host_key
from tests.unit.web.conftest import Get, post, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]

NEW = {"name": "far", "address": "192.0.2.7", "base_directory": "/srv/pg", "run_as": "postgres", "connection": "ssh", "ssh_user": "root"}


def far(**more: Any) -> Server:
    server: Server = ServerFactory(name="far", connection="ssh", ssh_user="root", facts={}, observed_at=None, **more)
    ssh_key_set(server, key_pair_made("far"))
    return server


def it_registers_a_server_and_has_its_host_key_read(signed_in: Callable[[str], Client], get: Get) -> None:
    assert "Register server" in text_of(get("adam", "/admin/clusters/server/"))
    assert "Register server" not in text_of(get("olga", "/admin/clusters/server/"))
    response = post(signed_in("adam"), "/servers/register/", NEW)
    assert response["Location"] == "/servers/far/"
    assert Job.objects.get().kind == "read_host_key"
    words = text_of(get("adam", "/servers/far/"))
    for part in ("Before the panel can log in", "~root/.ssh/authorized_keys", "no-agent-forwarding,no-X11-forwarding,no-pty ssh-ed25519"):
        assert part in words
    assert "Its host key is not confirmed yet" in words


def it_gives_no_secret_back_when_an_answer_is_refused(signed_in: Callable[[str], Client]) -> None:
    private = key_pair_made("x").private.reveal()
    page = post(signed_in("adam"), "/servers/register/", {**NEW, "ssh_user": "", "private_key": private, "passphrase": "canary"})
    content = page.content.decode()
    assert "ssh_user: this is missing." in text_of(content)
    assert 'value="192.0.2.7"' in content
    assert "canary" not in content
    assert private.split("\n")[1] not in content
    assert not Server.objects.exists()


def it_pins_a_host_key_that_a_person_has_compared(signed_in: Callable[[str], Client], get: Get) -> None:
    server, line = far(), host_key()
    assert "No host key has been read" in text_of(get("adam", "/servers/far/host-key/"))
    host_key_record(server, line)
    words = text_of(get("adam", "/servers/far/host-key/"))
    assert fingerprint(line) in words
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in words
    response = post(signed_in("adam"), "/servers/far/host-key/", {"fingerprint": fingerprint(line)})
    assert response["Location"] == "/servers/far/"
    assert Server.objects.get().ssh_host_key == line
    assert "This host key is pinned" in text_of(get("adam", "/servers/far/host-key/"))


def it_shows_both_host_keys_when_they_differ_and_asks_why(signed_in: Callable[[str], Client], get: Get) -> None:
    old, new = host_key(), host_key()
    host_key_record(far(ssh_host_key=old), new)
    for path in ("/servers/far/", "/servers/far/host-key/"):
        words = text_of(get("adam", path))
        assert fingerprint(old) in words
        assert fingerprint(new) in words
        assert "another host key than the pinned one" in words
    client = signed_in("adam")
    page = post(client, "/servers/far/host-key/", {"fingerprint": fingerprint(new)})
    assert "reason: say why" in text_of(page.content.decode())
    answers = {"fingerprint": fingerprint(new), "reason": "installed anew", "confirm": "far"}
    assert post(client, "/servers/far/host-key/", answers)["Location"] == "/servers/far/"
    assert Server.objects.get().ssh_host_key == new


def it_changes_a_server_and_its_key(signed_in: Callable[[str], Client], get: Get) -> None:
    server, client = far(ssh_host_key=host_key()), signed_in("adam")
    content = get("adam", "/servers/far/change/")
    assert 'value="192.0.2.10"' in content
    assert "private_key" not in content
    answers = {"address": "192.0.2.8", "base_directory": "/srv/pgreplica", "run_as": "postgres", "connection": "ssh", "runtime": "process",
               "ssh_user": "panel", "ssh_host": "", "ssh_port": "2222", "jump": ""}  # fmt: skip
    assert post(client, "/servers/far/change/", answers)["Location"] == "/servers/far/"
    server.refresh_from_db()
    assert (server.address, server.ssh_user, server.ssh_port) == ("192.0.2.8", "panel", 2222)
    before = server.ssh_key.public_key
    assert post(client, "/servers/far/ssh-key/", {})["Location"] == "/servers/far/"
    server.ssh_key.refresh_from_db()
    assert server.ssh_key.public_key != before
    assert "192.0.2.8:2222" in text_of(get("vera", "/servers/far/"))


def it_says_each_missing_thing_with_its_cure(get: Get) -> None:
    facts = {"postgres": [], "tools": ["perl"], "docker": {"engine": "", "compose": "", "error": ""}, "clock_difference_seconds": -61.2}
    ServerFactory(name="alpha", facts=facts)
    words = text_of(get("vera", "/servers/alpha/"))
    for part in (
        "No complete set of PostgreSQL 14 to 18 programs was found.",
        "The program flock was not found.",
        "Its clock is 61.2 s behind the panel's.",
        "Set up time synchronisation",
    ):
        assert part in words


@pytest.mark.parametrize(
    ("docker", "said"),
    [
        ({"engine": "", "compose": "", "error": ""}, "The program docker was not found."),
        ({"engine": "", "compose": "", "error": "permission denied"}, "does not answer the system user: permission denied"),
        ({"engine": "26.1.5", "compose": "", "error": ""}, "Docker Compose 2 was not found."),
    ],
)
def it_says_what_a_server_for_containers_lacks(get: Get, docker: dict[str, str], said: str) -> None:
    ServerFactory(name="alpha", runtime="docker", facts={"tools": ["flock", "setsid"], "docker": docker})
    assert said in text_of(get("vera", "/servers/alpha/"))
