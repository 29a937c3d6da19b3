"""Hostile values in every field, through form, API and command: refused with a sentence that names the field, or carried unharmed.

Carried unharmed means: the row holds the value (in its documented normal form), and the files made from it have as many
lines and settings as those of a harmless cluster. What each sink does with a carried value is in tests/unit/clusters/postgres.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management.base import CommandError
from django.db import transaction
from django.test import Client

from clusters.models import Cluster, Instance, Server
from clusters.postgres.files import files_of
from clusters.secrets import Secret
from clusters.selectors import instance_spec
from tasks.actor import actor_system
from tasks.management.commands import cluster, server
from tasks.models import Job
from tasks.registration import server_add
from tasks.services import RequestRefused, job_request
from tests.factories import ServerFactory, cluster_with_standbys

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]

EVERYWHERE = [
    "a;id", "$(id)", "`id`", "${HOME}", "a'b", 'a"b', "a\\b", "a b", " a", "a ", "a\nb", "a\rb", "a\tb", "a\x00b", "a\x1b[2Jb", "\u202ea",
    "-v/:/h", "--help", "-", "../x", "a/b", "/", "~x", "*", "a,b", "a=b", "%s", "{{7*7}}", "<script>alert(1)</script>", "'; DROP TABLE x;",
    "a\u0301", "ａｂ", "İstanbul", "кластер", "😀", "a" * 80, "a" * 300, "é" * 40, "x" * 100_000, "\ud800", "null", "CON", "0", "-1", "#",
    "@/etc/passwd", "+role", "a:b", "a|b", "a&b", "a>b", "=cmd", "\u2028", "\ufeffa", "a\u200bb", "${jndi:ldap://x}",
]  # fmt: skip
#: For fields that take a name, a number or something known, where the rest is refused by one rule.
FEW = [
    "a;id", "$(id)", "a'b", " a", "a\nb", "a\x00b", "\u202ea", "--help", "../x", "*", "<script>alert(1)</script>", "é" * 40, "x" * 100_000,
    "\ud800",
]  # fmt: skip
VALUES: dict[str, list[str]] = {
    "name": [*EVERYWHERE, "A1", "a-", "1a", "a_b", "quarantine", "create", "a" * 42, "a.b"],
    "instance": [*FEW, "a-", "walreceiver"],
    "server": FEW,
    "database": [*EVERYWHERE, "replication", "all", "template1", "postgres", "sameuser", "pg_x", "/regex", "a" * 63, "a" * 64, "ALL"],
    "owner_role": [
        *FEW, "-", 'a"b', "a b", "😀", "кластер", "/", "a" * 80, "a" * 63, "replication", "all", "public", "pg_x", "postgres", "replicator",
        "pgreplica_panel",
    ],
    "owner_password": [
        *(value * 12 if len(value) < 12 else value for value in EVERYWHERE), "short", "x" * 1024, "x" * 1025, "%#:@/ '\"\\$`12",
    ],
    "port": [
        "5432 -p 22", "0x1F", "٥٤٣٢", "0", "65536", "-1", "1e3", "5432.0", " 5432", "5432\n", "+5432", "5_432", "", "9" * 5000, *FEW,
    ],
    "postgres_major": ["13", "19", "18 ", "١٨", "18.1", *FEW],
    "bindir": ["/tmp/evil", "/usr/lib/postgresql/18/bin/../../../../tmp", "/usr/lib/postgresql/18/bin;id", *FEW],
    "client_networks": ["0.0.0.0/0", "10.0.0.1/24", "::/0 trust", "a\nhost all all all trust", "10.0.0.0/33", "fe80::1%eth0/64", *FEW],
    "reason": [*FEW, "😀", "a\x1b[2Jb", "\u2028", "x" * 2000, "x" * 2001, "a\r\nBcc: x@y", "=HYPERLINK(1)"],
    "upstream": FEW,
    "max_rate": ["50", "31k", "1025M", "50m", "50 M", "50M;id", "٥٠M", *FEW],
}  # fmt: skip
SETTINGS = [
    "on\nport=1", "'x'", "64GBB", "-1", "curl http://x | sh", "8MB' ", "8MB#", "x\x00", "x\\", "\u202e8MB", "x" * 2000, "8MB\r\nport = 1",
    "\ud800",
]  # fmt: skip
SETTING_NAMES = [
    "archive_command", "restore_command", "shared_preload_libraries", "data_directory", "include", "port", "a b", "a\nb", "", "work_mem ",
    "ssl_passphrase_command", "primary_conninfo", "local_preload_libraries", "ARCHIVE_COMMAND", "nosuch", "x" * 100, "\ud800",
]  # fmt: skip
SERVER_VALUES: dict[str, list[str]] = {
    "name": [*FEW, "A1", "a-", "quarantine"],
    "address": [
        "-oProxyCommand=id", "127.0.0.1;x", "[::1]%eth0", "h\nHost *", "169.254.169.254", "127.1", "2130706433", "0x7f.1", "user@host",
        "http://x", "host:22", "all", "samenet", "a" * 254, "a..b", "-a.example", *FEW,
    ],
    "base_directory": [
        "/", "/etc", "/etc/x", "/a/../..", "/d a", "/d\n", '/d"', "~x", "/" + "d" * 4096, "/a:b", "relative", "/proc/self", "//", "/./",
        "/srv/-x", *FEW,
    ],
    "run_as": ["root@x", "-l", "u b", "Root", "0", *FEW],
}  # fmt: skip

SSH_VALUES: dict[str, list[str]] = {
    "ssh_user": ["root@x", "-l", "u b", "Root", "0", "a" * 33, *FEW],
    "ssh_host": SERVER_VALUES["address"],
    "ssh_port": ["22 -p 23", "0x16", "٢٢", "0", "65536", "-1", "+22", "2_2", "9" * 5000, *FEW],
    "jump": ["gamma", "nowhere", *FEW],
    "connection": ["SSH", "telnet", *FEW],
    "runtime": ["podman", *FEW],
}  # fmt: skip

BASE = {"name": "orders", "server": "alpha", "database": "shop", "owner_role": "shop", "instance": "node1"}
SERVER = {"name": "gamma", "address": "127.0.0.1", "base_directory": "/srv/pg", "run_as": "postgres"}
SERVER_SSH = {**SERVER, "connection": "ssh", "ssh_user": "panel"}
Door = Callable[[str, dict[str, Any]], dict[str, list[str]]]


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def form_door(kind: str, data: dict[str, Any]) -> dict[str, list[str]]:
    """The refusals: field -> sentences."""
    actor = actor_system("tests", "web")
    try:
        server_add(actor=actor, data=data) if kind == "server" else job_request(kind=kind, actor=actor, data=data)
    except RequestRefused as refused:
        return refused.errors
    return {}


def api_door(client: Client) -> Door:
    paths = {"create_cluster": "clusters", "add_standby": "clusters/orders/standbys", "server": "servers"}

    def ask(kind: str, data: dict[str, Any]) -> dict[str, list[str]]:
        response = client.post(f"/api/v1/{paths[kind]}", json.dumps({k: v for k, v in data.items() if k != "cluster"}), "application/json")
        assert response.status_code in (201, 202, 422), (response.status_code, data)
        return {} if response.status_code in (201, 202) else response.json()["error"]["fields"]

    return ask


WORDS = {"create_cluster": ["cluster", "create"], "add_standby": ["cluster", "add-standby", "orders"], "server": ["server", "add"]}
COMMANDS = {"cluster": cluster.Command, "server": server.Command}


@cache
def parser_of(noun: str) -> Any:
    """Made once: what it parses is what counts here."""
    return COMMANDS[noun]().create_parser("manage.py", noun)


def command_door(kind: str, data: dict[str, Any]) -> dict[str, list[str]]:
    """The argv is what a shell would hand over, with option=value, so that a value may begin with a hyphen."""
    words = {"create_cluster": ["cluster", "create"], "add_standby": ["cluster", "add-standby", "orders"], "server": ["server", "add"]}[
        kind
    ]
    values = {key: value for key, value in data.items() if key != "cluster"}
    name = [values.pop("name")] if kind != "add_standby" else []
    options = {"client_networks": "client-network", "name": "instance"}
    settings = [f"--setting={key}={value}" for key, value in values.pop("settings", {}).items()]
    given = [(key, text) for key, value in values.items() for text in (value if isinstance(value, list) else [value])]
    argv = [f"--{options.get(key, key).replace('_', '-')}={text}" for key, text in given]
    out, err = io.StringIO(), io.StringIO()
    command = COMMANDS[words[0]](stdout=out, stderr=err)
    try:
        command.handle(**vars(parser_of(words[0]).parse_args([*words[1:], *name, *argv, *settings])))
    except CommandError as error:  # argparse; from a shell it ends with 2 as well
        return {"name": [str(error)]}
    except SystemExit as ended:
        if ended.code == 0:  # --help
            return {"name": ["argparse took it for an option of its own"]}
        if ended.code != 2:
            raise
    return {line.partition(":")[0].replace(" ", "_"): [line] for line in err.getvalue().splitlines()}


@pytest.fixture
def doors(bearer: Callable[..., Client]) -> dict[str, Door]:
    return {"form": form_door, "api": api_door(bearer("adam")), "command": command_door}


def outcome(door: Door, kind: str, data: dict[str, Any], field: str, look: Callable[[], Any]) -> tuple[str, Any]:
    """("refused", "") or ("carried", what the rows hold). Fails where neither is true."""
    with undone():
        before = Job.objects.count(), Server.objects.count(), Cluster.objects.count()
        refused = door(kind, data)
        if refused:
            assert field in refused, (field, data, refused)
            assert all(len(sentence) > 20 and "\x1b" not in sentence and "\n" not in sentence for sentence in refused[field]), refused
            assert (Job.objects.count(), Server.objects.count(), Cluster.objects.count()) == before
            return "refused", ""
        return "carried", look()


def compared(doors: dict[str, Door], kind: str, base: dict[str, Any], field: str, value: Any, look: Callable[[], Any]) -> tuple[str, Any]:
    """Every door comes to the same outcome."""
    outcomes = {name: outcome(door, kind, {**base, field: value}, field, look) for name, door in doors.items()}
    assert len(set(map(repr, outcomes.values()))) == 1, (field, value, outcomes)
    return outcomes["form"]


def shape() -> list[tuple[str, int]]:
    """Each file of the new instance with its number of lines; raises if the value cannot be written."""
    instance = Instance.objects.select_related("cluster", "server").get(cluster__name="orders", role="primary")
    return [(Path(file.path).name, file.content.count("\n")) for file in files_of(instance_spec(instance), Secret("x" * 20))]


def harmless_shape() -> list[tuple[str, int]]:
    with undone():
        assert form_door("create_cluster", BASE) == {}
        return shape()


@pytest.mark.parametrize("field", ["database", "owner_role"])
def test_names_in_postgres(doors: dict[str, Door], field: str) -> None:
    ServerFactory(name="alpha")
    lines = harmless_shape()
    carried = set()
    for value in VALUES[field]:
        kind, found = compared(doors, "create_cluster", BASE, field, value, lambda: (getattr(Cluster.objects.get(), field), shape()))
        if kind == "carried":
            assert found == (value, lines)
            carried.add(value)
    assert {"a;id", 'a"b', "a'b", "a b", "$(id)", "-", "😀", "a" * 63, "кластер"} <= carried
    assert not carried & {"a\nb", "a\x00b", "replication", "all", "pg_x", "/", "\u202ea", "é" * 40, "a" * 80}


@pytest.mark.parametrize("field", ["name", "instance", "server", "postgres_major", "bindir"])
def test_what_must_be_a_plain_name_or_known_refuses_the_rest(doors: dict[str, Door], field: str) -> None:
    ServerFactory(name="alpha")
    for value in VALUES[field]:
        kind, found = compared(doors, "create_cluster", BASE, field, value, Cluster.objects.count)
        assert kind == "refused" or value == "null", (field, value, found)


def test_ports(doors: dict[str, Door]) -> None:
    ServerFactory(name="alpha")
    for value in VALUES["port"]:
        kind, found = compared(doors, "create_cluster", BASE, "port", value, lambda: Instance.objects.get().port)
        assert (kind, found) == (("carried", 5432) if value == "" else ("refused", "")), value


def test_networks(doors: dict[str, Door]) -> None:
    ServerFactory(name="alpha")
    accepted = {}
    for value in VALUES["client_networks"]:
        kind, found = compared(doors, "create_cluster", BASE, "client_networks", [value], lambda: Cluster.objects.get().client_networks)
        if kind == "carried":
            accepted[value] = found
    assert accepted == {"0.0.0.0/0": ["0.0.0.0/0"], "10.0.0.1/24": ["10.0.0.0/24"]}


def test_a_network_typed_with_a_line_break_is_two_networks_and_both_are_judged() -> None:
    ServerFactory(name="alpha")
    assert list(form_door("create_cluster", BASE | {"client_networks": "10.0.0.0/8\nhost all all all trust"})) == ["client_networks"]


def test_setting_values(doors: dict[str, Door]) -> None:
    ServerFactory(name="alpha")
    lines = harmless_shape()
    for value in SETTINGS:
        for name in ("work_mem", "log_line_prefix"):
            kind, found = compared(
                doors, "create_cluster", BASE, "settings", {name: value}, lambda: (Cluster.objects.get().settings, shape())
            )
            if kind == "carried":
                assert list(found[0]) == [name]
                extra = [file for file, count in found[1] if (file, count) not in lines]
                assert extra == ["postgresql.conf"]
                assert dict(found[1])["postgresql.conf"] - dict(lines)["postgresql.conf"] <= 4  # a heading and the setting


def test_setting_names(doors: dict[str, Door]) -> None:
    ServerFactory(name="alpha")
    for name in SETTING_NAMES:
        kind, _found = compared(doors, "create_cluster", BASE, "settings", {name: "on"}, lambda: Cluster.objects.get().settings)
        assert kind == "refused", name


@pytest.mark.parametrize("door", ["form", "api"])
def test_passwords(doors: dict[str, Door], door: str) -> None:
    """A password never is an argument of a command: that reads it from a file, and its test is with the commands."""
    ServerFactory(name="alpha")
    carried = set()
    for value in VALUES["owner_password"]:
        data = BASE | {"owner_password": value}
        kind, found = outcome(doors[door], "create_cluster", data, "owner_password", lambda: Cluster.objects.get().owner_password.reveal())
        if kind == "carried":
            assert found == value
            carried.add(value)
    assert {"%#:@/ '\"\\$`12", "x" * 1024, "😀" * 12, "-" * 12, "$(id)" * 12} <= carried
    assert not carried & {"short", "x" * 1025, "a\nb" * 12, "a\x00b" * 12}


def test_reasons_are_kept_as_text(doors: dict[str, Door]) -> None:
    ServerFactory(name="alpha")
    for value in VALUES["reason"]:
        kind, found = compared(doors, "create_cluster", BASE, "reason", value, lambda: Job.objects.get().reason)
        if kind == "carried":
            assert not any(ord(char) < 32 and char != "\n" for char in found)
        else:
            assert len(value) > 2000 or value == "\ud800"


@pytest.mark.parametrize("field", ["name", "server", "upstream", "port", "max_rate", "bindir"])
def test_a_standbys_fields(doors: dict[str, Door], field: str) -> None:
    ServerFactory(name="alpha")
    cluster_with_standbys("orders")
    for value in FEW if field == "name" else VALUES[field]:
        base = {"cluster": "orders", "server": "alpha", "name": "node9"}
        kind, found = compared(doors, "add_standby", base, field, value, lambda: Job.objects.get().params)
        assert kind == "refused" or value in ("", "50", "null"), (field, value, found)


@pytest.mark.parametrize("field", list(SERVER_VALUES))
def test_a_servers_fields(doors: dict[str, Door], field: str) -> None:
    for value in SERVER_VALUES[field]:
        kind, found = compared(doors, "server", SERVER, field, value, lambda: Server.objects.values_list(field, flat=True).get())
        if kind == "carried":
            assert all(char.isascii() and (char.isalnum() or char in "._/+@=-:") for char in found), (field, value, found)


@pytest.mark.parametrize("field", list(SSH_VALUES))
def test_the_fields_of_a_login_by_ssh(doors: dict[str, Door], field: str) -> None:
    for value in SSH_VALUES[field]:
        kind, found = compared(doors, "server", SERVER_SSH, field, value, lambda: Server.objects.values_list(field, flat=True).get())
        carried = found if field == "ssh_port" or kind != "carried" else str(found)
        assert kind == "refused" or re.fullmatch(r"[a-z0-9_.:-]+", str(carried)), (field, value, found)


def test_a_pasted_key_is_read_or_refused_and_never_shown(doors: dict[str, Door]) -> None:
    begin, end = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
    bodies = ["", "AAAA", "b3BlbnNzaC1rZXktdjEA", "\u202e", "A" * 16_000, "\x00", "$(id)", "é"]
    values = [*EVERYWHERE, *(f"{begin}\n{body}\n{end}\n" for body in bodies), begin * 2, "ProxyCommand id\nHost *"]
    for value in values:
        for door in ("form", "api"):
            with undone():
                refused = doors[door]("server", {**SERVER_SSH, "private_key": value})
                assert set(refused) <= {"private_key", "passphrase"}, (value, refused)
                assert refused, value
                assert not value.strip() or len(value) < 8 or value not in json.dumps(refused), (value, refused)


def test_json_of_another_type_is_refused_at_its_field_or_means_the_same(doors: dict[str, Door]) -> None:
    ServerFactory(name="alpha")
    fields = [*BASE, "port", "postgres_major", "owner_password", "client_networks", "settings", "reason", "bindir"]
    for field in fields:
        for value in (None, True, 1.5, float("inf"), [], {}, [[]], [{}], {"a": {}}, 2**70, [1], {"a": "b"}, {"work_mem": float("nan")}):
            with undone():
                refused = doors["api"]("create_cluster", {**BASE, field: value})
                assert not refused or field in refused, (field, value, refused)


def test_names_in_addresses_find_nothing(bearer: Callable[..., Client]) -> None:
    client = bearer("adam")
    for value in EVERYWHERE:
        text = quote(value.encode("utf-8", "surrogatepass"), safe="")[:2000]
        gone = {client.get(f"/api/v1/{path}/{text}").status_code for path in ("servers", "clusters", "jobs")}
        gone.add(client.delete(f"/api/v1/clusters/orders/standbys/{text}?confirm={text}").status_code)
        assert gone == {404}, value
        found = [client.get(f"/api/v1/{path}?cluster={text}") for path in ("jobs", "audit")]
        assert [(response.status_code, response.json()) for response in found] == [(200, [])] * 2, value


def test_the_page_comes_to_what_the_form_says_and_shows_it_as_text(people: dict[str, Any]) -> None:
    ServerFactory(name="alpha")
    browser = Client()
    browser.force_login(people["adam"])
    for field in ("name", "server", "database", "owner_role", "owner_password", "port", "client_networks", "settings", "reason"):
        for value in FEW[:-1]:  # a page cannot send half a character
            data = {**BASE, field: value}
            with undone():
                refused = form_door("create_cluster", data)
            with undone():
                page = browser.post("/clusters/create/", {**data, "action": "look"})
                assert (page.status_code, sorted(page.context["asking"].errors)) == (200, sorted(refused)), (field, value)
                assert b"<script>alert(1)" not in page.content
                if not refused:
                    seen = {"action": "run", "plan_hash": page.context["asking"].preview.plan_hash}
                    assert browser.post("/clusters/create/", {**data, **seen}).status_code == 302, (field, value)
