"""Servers over SSH: what is stored of a key, whose word pins a host key, what each door shows and refuses."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client

from clusters.fingerprints import fingerprint
from clusters.models import Server, SshKey
from clusters.services import host_key_record, server_forget
from clusters.ssh_keys import key_pair_made
from tasks.actor import actor_system
from tasks.models import AuditEntry, Job
from tasks.refusals import RequestRefused
from tasks.registration import host_key_confirm, server_add, server_change, ssh_key_change
from tests.factories import ServerFactory
from tests.unit.tasks.test_commands import Run

pytestmark = pytest.mark.django_db

ADAM = actor_system("adam", "command")
NEW = {"name": "alpha", "address": "192.0.2.7", "base_directory": "/srv/pg", "connection": "ssh", "ssh_user": "root", "run_as": "postgres"}


def host_key(kind: str = "ssh-ed25519") -> str:
    return f"{kind} {base64.b64encode(os.urandom(51)).decode()}"


def offered(server: Server, line: str) -> Server:
    return host_key_record(server, line)


def registered(**changes: Any) -> Server:
    return server_add(actor=ADAM, data={**NEW, **changes})


def refusals(call: Callable[[], object]) -> dict[str, list[str]]:
    with pytest.raises(RequestRefused) as caught:
        call()
    return caught.value.errors


class TestKey:
    def it_is_made_for_each_server_and_stored_as_ciphertext(self) -> None:
        server = registered()
        private = server.ssh_key.private_key.reveal()
        assert "BEGIN OPENSSH PRIVATE KEY" in private
        with connection.cursor() as cursor:
            cursor.execute("SELECT private_key::text FROM clusters_sshkey")
            (raw,) = cursor.fetchone()
        assert "OPENSSH" not in raw
        assert base64.b64encode(b"OPENSSH").decode()[:8] not in raw
        assert registered(name="beta").ssh_key.public_key != server.ssh_key.public_key

    def it_may_be_pasted_and_is_audited_by_its_fingerprint_alone(self) -> None:
        pair = key_pair_made("x")
        server = registered(private_key=pair.private.reveal())
        assert server.ssh_key.public_key.split()[:2] == pair.public.split()[:2]
        entry = AuditEntry.objects.get()
        assert entry.details["ssh_key"] == fingerprint(pair.public)
        assert entry.details["ssh_key_from"] == "pasted"
        assert "PRIVATE" not in json.dumps(entry.details)

    def it_is_refused_at_its_field(self) -> None:
        assert list(refusals(lambda: registered(private_key="ssh-ed25519 AAAA"))) == ["private_key"]
        assert list(refusals(lambda: registered(passphrase="x"))) == ["passphrase"]
        assert not Server.objects.exists()

    def it_can_be_changed_and_the_old_one_is_gone(self) -> None:
        server = registered()
        before = server.ssh_key.public_key
        public = ssh_key_change(actor=ADAM, server=server, data={})
        assert SshKey.objects.get().public_key == public != before
        assert AuditEntry.objects.latest("number").action == "ssh_key_change"

    def it_is_not_for_a_local_server(self) -> None:
        assert "is not reached over SSH" in str(refusals(lambda: ssh_key_change(actor=ADAM, server=ServerFactory(), data={})))


class TestHostKey:
    def it_is_pinned_by_the_fingerprint_that_was_read(self) -> None:
        server, line = registered(), host_key()
        assert "has been read" in str(refusals(lambda: confirm(server, fingerprint(line))))
        offered(server, line)
        assert list(refusals(lambda: confirm(server, fingerprint(host_key())))) == ["fingerprint"]
        assert list(refusals(lambda: confirm(server, ""))) == ["fingerprint"]
        assert Server.objects.get().ssh_host_key == ""
        confirm(server, fingerprint(line))
        assert Server.objects.get().ssh_host_key == line
        entry = AuditEntry.objects.latest("number")
        assert (entry.action, entry.details) == ("host_key_pin", {"pinned": fingerprint(line), "before": ""})

    def it_is_changed_only_with_a_reason_and_a_typed_confirmation(self) -> None:
        server, old, new = registered(), host_key(), host_key()
        offered(server, old)
        confirm(server, fingerprint(old))
        offered(server, new)
        assert list(refusals(lambda: confirm(server, fingerprint(new)))) == ["reason", "confirm"]
        assert list(refusals(lambda: confirm(server, fingerprint(new), reason="installed anew", confirm="beta"))) == ["confirm"]
        assert Server.objects.get().ssh_host_key == old
        confirm(server, fingerprint(new), reason="installed anew", confirm="alpha")
        entry = AuditEntry.objects.latest("number")
        assert (entry.reason, entry.details) == ("installed anew", {"pinned": fingerprint(new), "before": fingerprint(old)})

    def it_is_so_already_when_it_is_confirmed_twice(self) -> None:
        server, line = registered(), host_key()
        offered(server, line)
        confirm(server, fingerprint(line))
        count = AuditEntry.objects.count()
        confirm(server, fingerprint(line))
        assert AuditEntry.objects.count() == count


def confirm(server: Server, shown: str, **more: str) -> None:
    host_key_confirm(actor=ADAM, server=server, data={"fingerprint": shown, **more})


class TestServer:
    def it_needs_a_user_to_log_in_as(self) -> None:
        assert list(refusals(lambda: registered(ssh_user=""))) == ["ssh_user"]

    def it_takes_nothing_of_ssh_where_it_is_local(self) -> None:
        found = refusals(lambda: registered(connection="local", ssh_host="192.0.2.1", ssh_port="2222", jump="beta"))
        assert set(found) == {"ssh_user", "ssh_host", "ssh_port", "jump"}

    def it_is_reached_through_another_but_in_no_circle(self) -> None:
        registered(name="gate")
        registered(name="inner", jump="gate")
        gate = Server.objects.get(name="gate")
        assert list(refusals(lambda: registered(name="third", jump="nowhere"))) == ["jump"]
        for jump in ("gate", "inner"):
            assert list(refusals(lambda jump=jump: server_change(actor=ADAM, server=gate, data={"jump": jump}))) == ["jump"]
        with pytest.raises(ValidationError, match="inner are reached through this server"):
            server_forget(gate)
        inner = server_change(actor=ADAM, server=Server.objects.get(name="inner"), data={"jump": ""})
        assert inner.jump is None
        assert AuditEntry.objects.latest("number").details == {"jump": ["gate", ""]}

    def it_may_have_a_user_by_number(self) -> None:
        assert registered(run_as="999").run_as == "999"
        assert list(refusals(lambda: registered(name="beta", run_as="0"))) == ["run_as"]


class TestDoors:
    def it_goes_all_the_way_through_the_api(self, bearer: Callable[..., Client], stub_workflows: None) -> None:
        adam = bearer("adam")
        made = adam.post("/api/v1/servers", {**NEW, "ssh_port": 2222}, content_type="application/json")
        assert made.status_code == 201, made.content
        ssh = made.json()["ssh"]
        assert (ssh["host"], ssh["port"], ssh["user"], ssh["host_key"], ssh["jump"]) == ("192.0.2.7", 2222, "root", "", None)
        assert ssh["authorized_keys"].startswith("no-agent-forwarding,no-X11-forwarding,no-pty ssh-ed25519 ")
        assert adam.post("/api/v1/servers/alpha/read-host-key", {}, content_type="application/json").status_code == 202
        assert Job.objects.get().kind == "read_host_key"
        line = host_key()
        offered(Server.objects.get(), line)
        shown = adam.get("/api/v1/servers/alpha").json()["ssh"]
        assert (shown["host_key"], shown["host_key_offered"]) == ("", fingerprint(line))
        body = {"fingerprint": shown["host_key_offered"]}
        assert adam.post("/api/v1/servers/alpha/host-key", body, content_type="application/json").json()["ssh"]["host_key"] == fingerprint(
            line
        )
        changed = adam.post("/api/v1/servers/alpha/ssh-key", {}, content_type="application/json")
        assert changed.json()["ssh"]["key"] != ssh["key"]
        for response in (made, changed, adam.get("/api/v1/servers")):
            assert "PRIVATE" not in response.content.decode()
        assert bearer("olga").post("/api/v1/servers/alpha/host-key", body, content_type="application/json").status_code == 403

    def it_goes_all_the_way_through_the_command(self, tmp_path: Path, stub_workflows: None) -> None:
        pair = key_pair_made("x")
        (tmp_path / "key").write_text(pair.private.reveal())
        words = ["--address", "192.0.2.7", "--base-directory", "/srv/pg", "--ssh-user", "root", "--ssh-port", "2222"]
        run = Run("server", "add", "alpha", *words, "--private-key-file", str(tmp_path / "key"))
        assert (run.code, run.err) == (0, "")
        for part in ("Three steps are left", " ".join(pair.public.split()[:2]), "read-host-key alpha", "ssh-keygen -lf"):
            assert part in run.out
        assert Run("server", "read-host-key", "alpha", "--json").json["kind"] == "read_host_key"
        line = host_key()
        offered(Server.objects.get(), line)
        assert Run("server", "confirm-host-key", "alpha", "SHA256:other").code == 2
        assert Run("server", "confirm-host-key", "alpha", fingerprint(line)).code == 0
        assert Run("server", "show", "alpha", "--json").json["ssh"]["host_key"] == fingerprint(line)
        assert "add this line" in Run("server", "new-key", "alpha").out
        assert "PRIVATE" not in run.out + Run("server", "show", "alpha").out
        assert Run("server", "add", "beta", *words, "--private-key-file", "/no/such").code == 2
