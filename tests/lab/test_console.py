"""`./pgreplica lab`, word by word, in a lab of another name than a developer's."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.management.commands.server import Command
from tests.lab import __main__ as console
from tests.lab.commands import run
from tests.lab.lab import sweep
from tests.lab.site import Site

pytestmark = pytest.mark.needs("lab")
SITE = Site(name="words", prefix="10.77.98")


@pytest.fixture(autouse=True)
def _site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(console, "PLAY", SITE)
    yield
    sweep(SITE)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = console.main(words)
    out, err = capsys.readouterr()
    return code, out, err


def it_brings_servers_up_and_says_what_to_do_with_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = said(capsys, "up", "2")
    assert (code, err) == (0, "")
    states = [line.split() for line in said(capsys, "list")[1].splitlines()]
    assert [row[:3] for row in states] == [["alpha", "10.77.98.11", "on"], ["beta", "10.77.98.12", "on"]]
    for name, address, _state, fingerprint in states:
        assert fingerprint in out
        assert f"./pgreplica server add {name} --address {address} " in out
    panels = [shlex.split(line, comments=True)[1:] for line in out.splitlines() if line.startswith("./pgreplica server ")]
    for words in panels:  # what is shown is what the panel takes
        Command().create_parser("manage.py", words[0]).parse_args(words[1:])
    assert [words[1] for words in panels] == ["add", "read-host-key", "confirm-host-key", "check"] * 2
    assert said(capsys, "up")[0::2] == (2, "pgreplica: the lab is up: ./pgreplica lab list shows it, ./pgreplica lab down removes it\n")

    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")])
    assert said(capsys, "authorize", "beta", (tmp_path / "key.pub").read_text()) == (0, "", "")
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"]
    assert run(["ssh", "-F", "none", "-i", str(tmp_path / "key"), *options, "root@10.77.98.12", "hostname"]).stdout == "beta\n"

    for verb, word in (("hang", "hung"), ("thaw", "on"), ("power-off", "off"), ("boot", "on")):
        assert said(capsys, verb, "beta") == (0, "", "")
        assert said(capsys, "list")[1].splitlines()[1].split()[2] == word
    assert said(capsys, "cut-off", "beta")[0] == 0
    with pytest.raises(OSError, match=r"timed out|No route"):
        socket.create_connection(("10.77.98.12", 22), timeout=1)
    assert said(capsys, "heal", "beta")[0] == 0
    socket.create_connection(("10.77.98.12", 22), timeout=5).close()

    assert said(capsys, "down") == (0, "", "")
    assert said(capsys, "list")[1] == "There is no lab. Bring one up: ./pgreplica lab up\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["boot", "alpha"], "the lab has no server alpha; it has none: ./pgreplica lab up brings it up"),
        (["authorize", "alpha", "a b"], "this is not one line of a public key, as in authorized_keys: 'ssh-ed25519 AAAA...', in quotes"),
    ],
)
def it_says_what_is_wrong(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert said(capsys, *words) == (2, "", f"pgreplica: {sentence}\n")


def it_says_what_the_machine_lacks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "missing", lambda: "the lab needs root, to make namespaces")
    assert said(capsys, "up") == (2, "", "pgreplica: the lab needs root, to make namespaces.\n")
