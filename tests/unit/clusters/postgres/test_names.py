"""What people type: carried through as it is, or refused with a sentence that names the field and says what to do."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.postgres import names
from clusters.postgres.names import NameRefused
from clusters.postgres.refused import has_control
from tests.unit.clusters.postgres.cast import refusal_of

LONG = "n" * 300
RTL = "a\u202eb"

#: security.md section 4, one line a field: validator, what it takes (and gives), what it refuses.
ACCEPTED = [
    (names.object_name, "orders", "orders"),
    (names.object_name, "db-2", "db-2"),
    (names.object_name, "con", "con"),
    (names.object_name, "a" * 41, "a" * 41),
    (names.host_address, "10.0.0.5", "10.0.0.5"),
    (names.host_address, "127.0.0.1", "127.0.0.1"),
    (names.host_address, "2001:DB8:0::6", "2001:db8::6"),
    (names.host_address, "::1", "::1"),
    (names.host_address, "db1.Example.com", "db1.example.com"),
    (names.host_address, "localhost", "localhost"),
    (names.host_address, "bücher.example", "xn--bcher-kva.example"),
    (names.port, "5432", 5432),
    (names.port, 1, 1),
    (names.port, 65535, 65535),
    (names.base_directory, "/var/lib/pgreplica", "/var/lib/pgreplica"),
    (names.base_directory, "/srv//pg/", "/srv/pg"),
    (names.base_directory, "/tmp/pytest-of-me/x_0", "/tmp/pytest-of-me/x_0"),
    (names.directory, "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/16/bin"),
    (names.database_name, "orders", "orders"),
    (names.database_name, 'a"b', 'a"b'),
    (names.database_name, "a'; DROP TABLE x; --", "a'; DROP TABLE x; --"),
    (names.database_name, "--help", "--help"),
    (names.database_name, "a b=c\\d $(id) `id` %s {0}", "a b=c\\d $(id) `id` %s {0}"),
    (names.database_name, "dados é 😀", "dados é 😀"),
    (names.database_name, "@file", "@file"),
    (names.database_name, "+role", "+role"),
    (names.database_name, "é" * 31, "é" * 31),
    (names.role_name, "app$body$", "app$body$"),
    (names.role_name, "all of it", "all of it"),
    (names.cidr, "10.0.0.1/24", "10.0.0.0/24"),
    (names.cidr, "10.0.0.5", "10.0.0.5/32"),
    (names.cidr, "0.0.0.0/0", "0.0.0.0/0"),
    (names.cidr, "2001:db8::/64", "2001:db8::/64"),
    (names.reason, "<script>alert(1)</script>", "<script>alert(1)</script>"),
    (names.reason, "a\x1b[2Jb\u202ec\r\nd", "a [2Jb c\nd"),
]

REFUSED = {
    names.object_name: [
        *("a;id", "$(id)", "-v/:/h", "../x", "a'b", RTL, LONG, "*", "", "a", "A1", "a-", "1a", "a\n", "ab\n", "a b", "a_b", "ä1"),
        *("quarantine", "walreceiver", "a\0b", "a/b", "a:b", ".run", "٥٤"),
    ],
    names.host_address: [
        *("-oProxyCommand=x", "127.0.0.1;x", "[::1]%eth0", "fe80::1%eth0", "2001:db8::1%eth0", "h\nHost *", "169.254.169.254", "", "."),
        *("a..b", "127.1", "2130706433", "0x7f.1", "a.0x7f", "0.0.0.0", "::", "224.0.0.1", "all", "samenet", "samehost", "h:5432", "u@h"),
        *("h,i", "/run", "a b", "a_b", LONG, "a." * 130 + "b", RTL, "255.255.255.255", "10.0.0.5/32", "10.0.0.5 ", "h\0", "*", "h."),
        *("-a.b", "a-.b", "240.0.0.1", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "ff02::1", "a" * 10**6),
    ],
    names.port: ["5432 -p 22", "0x1F", "٥٤٣٢", "", "0", "65536", "-1", "1e3", "5432\n", "9" * 5000, 0, -5, True, 70000],
    names.base_directory: [
        *("/", "/etc", "/etc/x", "/a/../..", "/a/../b", "/./a", "/d a", "/d\n", '/d"', "~x", "x", "", "/" + "d" * 4095, "/d:ro", "/-d"),
        *("/d/-rf", "/d$x", "/d`id`", "/d'", "/dé", "/d\0", "//", "/tmp", "/" + "d" * 75, "/proc/self", "/dev/shm", "/var", "/home"),
        *("/root", "//etc", "/etc//", "/d;id", "/d,e", "/d\\e", "/d*", "/d|e", "/d&", "/d<e", "/~d", "/d%e", "/{d}"),
    ],
    names.database_name: [
        *("", " ", " a", "a ", "a\n", "a\nb", "a\0b", "\x7f", "a\x85b", RTL, "n" * 80, "é" * 32, "/re", "\ud800", "all", "ALL", "sameuser"),
        *("replication", "template1", "template0", "postgres", "pg_x", "PG_x", "a\u2028b", "\u200b", "x" * 10**6),
    ],
    names.role_name: ["postgres", "public", "none", "PUBLIC", "pg_monitor", "current_user", "all", "/re", "a\u2028b", "", "n" * 64],
    names.cidr: [
        *("::/0 trust", "a\nhost all all all trust", "", "10.0.0.0/33", "all", "samenet", "10.0.0.0/24 ", "10.0.0", "1/2/3"),
        *("fe80::%eth0/64", "10.0.0.0/24\n", "٥.0.0.0/8", "10.0.0.0/255.0.255.0", "2130706433/32x", "0x0a000000/8"),
    ],
    names.password: ["short", "x" * 1025, "twelve chars\n", "twelve\0chars", "twelve\rchars", "", "twelve chars \x1b"],
    names.reason: ["x" * 2001, "\r\n" * 2501 + "x", "x" * 10**6],
    names.replication_slot: ["", "A", "a-b", "a b", "s" * 64, "a\n", "é", "x'; DROP"],
}


def named(value: object) -> str:
    return getattr(value, "__name__", repr(value)[:30])


@pytest.mark.parametrize(("check", "value", "given_back"), ACCEPTED)
def it_carries_through(check, value, given_back):
    assert check(value) == given_back


@pytest.mark.parametrize(("check", "value"), [(check, value) for check, values in REFUSED.items() for value in values], ids=named)
def it_refuses_with_a_sentence(check, value):
    with pytest.raises(NameRefused) as refusal:
        check(value, "some_field")
    sentence = refusal.value.sentence
    assert refusal.value.field == "some_field"
    assert sentence.startswith("some field: ")
    assert sentence.endswith(".")
    assert len(sentence) < 400
    assert not has_control(sentence)
    assert re.search(r"\b(Use|Give|Type|Choose|Take|Say)\b", sentence), sentence


def it_translates_the_template_before_the_values():
    with pytest.raises(NameRefused) as refusal:
        names.port("x", "port")
    sentence = refusal.value.sentence
    assert sentence.template % sentence.values == sentence
    assert "%(value)s" in sentence.template


@pytest.mark.parametrize("value", ["replicator", "Replicator", "pgreplica_panel"])
def it_refuses_a_role_that_is_taken(value):
    with pytest.raises(NameRefused):
        names.role_name(value, "owner_role", taken=("replicator", "pgreplica_panel"))
    assert names.role_name(value) == value


CHECKS = (
    names.object_name,
    names.host_address,
    names.port,
    names.base_directory,
    names.directory,
    names.database_name,
    names.role_name,
    names.cidr,
    names.password,
    names.reason,
)


@given(st.text())
def it_never_fails_in_another_way(text):
    for check in CHECKS:
        refusal = refusal_of(check, text)
        assert refusal is None or not has_control(refusal.sentence)


@given(st.text(min_size=12, max_size=100))
def it_takes_any_password_without_control_characters_and_prints_none(text):
    refusal = refusal_of(names.password, text)
    assert (refusal is None) == all(unicodedata.category(char) not in ("Cc", "Cs") for char in text)
    assert refusal is None or text not in str(refusal)
    assert refusal or (names.password(text).reveal(), str(names.password(text))) == (text, "********")


@pytest.mark.parametrize("value", ["'", '"', "\\", "$x", "`id`", "%", "#", ":", "@/", " ", "😀", "${jndi:ldap://x}"])
def it_takes_passwords_with_anything_printable(value):
    assert names.password(f"{value} is in a password").reveal() == f"{value} is in a password"


def it_says_which_networks_are_open():
    assert [names.is_open(net) for net in ("0.0.0.0/0", "::/0", "10.0.0.0/8")] == [True, True, False]


def it_names_slots_as_postgres_takes_them():
    assert names.slot_name("orders", "beta") == "pgr_orders_beta"
    assert names.slot_name("or-ders", "be-ta") == "pgr_or_ders_be_ta"
    long = [names.slot_name("o" * 41, f"{'b' * 39}{digit}") for digit in "01"]
    assert long[0] != long[1]
    assert all(re.fullmatch(r"[a-z0-9_]{63}", name) for name in long)


@given(st.from_regex(names.OBJECT_NAME, fullmatch=True), st.from_regex(names.OBJECT_NAME, fullmatch=True))
def it_gives_each_instance_of_a_cluster_its_own_slot(one, other):
    slots = {names.slot_name("orders", name.strip()) for name in (one, other)}
    assert len(slots) == len({one.strip(), other.strip()})
    assert all(re.fullmatch(r"[a-z0-9_]{1,63}", slot) for slot in slots)
