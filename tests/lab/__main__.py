"""`./pgreplica lab`: a lab to play with. It stays until `lab down`, and is another one than the tests'."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence

from tests.lab.commands import LabError
from tests.lab.lab import Lab, sweep
from tests.lab.locks import locked
from tests.lab.missing import missing
from tests.lab.server import LabServer
from tests.lab.site import NAMES, PLAY

#: Verb -> what it does to one server, and in what words.
ACTS: dict[str, tuple[Callable[[LabServer], object], str]] = {
    "power-off": (LabServer.power_off, "sudden death of a server"),
    "boot": (LabServer.boot, "switch it on"),
    "cut-off": (lambda server: server.network.cable(server.name, connected=False), "pull its cable"),
    "reconnect": (lambda server: server.network.cable(server.name, connected=True), "put the cable back"),
    "hang": (LabServer.hang, "let it accept connections and never answer"),
    "thaw": (LabServer.thaw, "let it go on"),
    "kill-engine": (LabServer.kill_engine, "kill its Docker engine; containers go on"),
    "start-engine": (LabServer.start_engine, "start the engine again"),
    "heal": (LabServer.heal, "take back whatever was done to it"),
}
ENROL = """
./pgreplica server add {0.name} --address {0.address} --ssh-user root --runtime docker --base-directory /srv/postgres
./pgreplica lab authorize {0.name} '...'   # the line for authorized_keys that the command before has shown
./pgreplica server read-host-key {0.name} --wait --yes
./pgreplica server confirm-host-key {0.name} {0.fingerprint}
./pgreplica server check {0.name} --wait --yes
"""
NEXT = """
To register them in a running panel (./pgreplica up):
{enrol}
By hand: ssh -i {key} root@{address}
Remove everything: ./pgreplica lab down"""
#: With or without options before it.
PUBLIC_KEY = re.compile(r"([^\n]* )?(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?")


def main(words: Sequence[str]) -> int:
    given = parser().parse_args(words)
    reason = missing()
    if reason:
        return refused(f"{reason}.")
    try:
        with locked(PLAY.lock):
            given.act(given)
    except LabError as error:
        return refused(str(error))
    return 0


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="./pgreplica lab", description="Servers with SSH and Docker on this machine, to play with.")
    verbs = whole.add_subparsers(required=True, metavar="VERB")
    add = verbs.add_parser("up", help="bring servers up")
    add.add_argument("count", nargs="?", type=int, default=3, choices=range(1, len(NAMES) + 1), metavar="N", help="how many (default: 3)")
    add.set_defaults(act=up)
    verbs.add_parser("list", help="the servers, with address, state and fingerprint").set_defaults(act=listing)
    verbs.add_parser("down", help="remove all of it, with all data in it").set_defaults(act=lambda _given: sweep(PLAY))
    let_in = verbs.add_parser("authorize", help="let the holder of a key log in as root")
    let_in.add_argument("name", help="a server")
    let_in.add_argument("public_key", help="'ssh-ed25519 ...', in quotes")
    let_in.set_defaults(act=authorize)
    for verb, (act, help_text) in ACTS.items():
        one = verbs.add_parser(verb, help=help_text)
        one.add_argument("name", help="a server")
        one.set_defaults(act=lambda given, act=act: act(server(given.name)))
    return whole


def up(given: argparse.Namespace) -> None:
    lab = Lab(PLAY)
    if lab.find():
        raise LabError("the lab is up: ./pgreplica lab list shows it, ./pgreplica lab down removes it")
    sweep(PLAY)
    say("pgreplica: bringing the lab up (the first time images are made: about half a minute)")
    try:
        servers = lab.up(given.count)
    except BaseException:
        sweep(PLAY)
        raise
    listing(given)
    enrol = "".join(ENROL.format(one) for one in servers)
    say(NEXT.format(enrol=enrol, key=lab.key, address=servers[0].address))


def listing(_given: argparse.Namespace) -> None:
    servers = Lab(PLAY).find().values()
    if not servers:
        say("There is no lab. Bring one up: ./pgreplica lab up")
    for one in servers:
        state = ("hung" if one.cgroups.frozen(one.name) else "on") if one.is_on() else "off"
        say(f"{one.name:<8} {one.address:<12} {state:<5} {one.fingerprint}")


def authorize(given: argparse.Namespace) -> None:
    key = given.public_key.strip()
    if not PUBLIC_KEY.fullmatch(key):
        raise LabError("this is not one line of a public key, as in authorized_keys: 'ssh-ed25519 AAAA...', in quotes")
    server(given.name).authorize(key)


def server(name: str) -> LabServer:
    found = Lab(PLAY).find()
    if name not in found:
        raise LabError(f"the lab has no server {name}; it has {', '.join(found) or 'none: ./pgreplica lab up brings it up'}")
    return found[name]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def refused(sentence: str) -> int:
    sys.stderr.write(f"pgreplica: {sentence}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
