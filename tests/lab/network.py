"""The lab's network: a bridge in a namespace of its own, a cable from it to each server and one to this machine.

The bridge is not in the machine's own namespace, where a firewall would see its frames.
"""

from __future__ import annotations

import json

from tests.lab.commands import run
from tests.lab.site import Site

BRIDGE = "br0"
SERVER_END = "eth0"
#: tbf: how long a packet may wait in the queue before it is dropped, and how much goes at once.
QUEUE = ("burst", "32kbit", "latency", "400ms")


class Network:
    def __init__(self, site: Site) -> None:
        self.site = site

    def up(self) -> None:
        site = self.site
        run(["ip", "netns", "add", site.switch])
        self._in_switch("link", "set", "lo", "up")
        self._in_switch("link", "add", BRIDGE, "type", "bridge")
        self._in_switch("link", "set", BRIDGE, "up")
        run(["ip", "link", "add", site.own_link, "type", "veth", "peer", "name", _port("root"), "netns", site.switch])
        self._in_switch("link", "set", _port("root"), "master", BRIDGE, "up")
        run(["ip", "address", "add", f"{site.own_address}/24", "dev", site.own_link])
        run(["ip", "link", "set", site.own_link, "up"])

    def down(self) -> None:
        """Safe to repeat, and where `up` was cut short."""
        run(["ip", "link", "delete", self.site.own_link], check=False)
        run(["ip", "netns", "delete", self.site.switch], check=False)

    def namespaces(self) -> list[str]:
        """Those of this lab, the switch's included."""
        listed = json.loads(run(["ip", "-json", "netns", "list"]).stdout or "[]")
        return [one["name"] for one in listed if one["name"].startswith(f"{self.site.name}-")]

    def plug(self, server: str, number: int) -> None:
        """A namespace for the server, its card in it, the cable's other end in the switch. No way leads out of the lab."""
        namespace = self.site.namespace(server)
        run(["ip", "netns", "add", namespace])
        run(["ip", "link", "add", _port(server), "netns", self.site.switch, "type", "veth", "peer", "name", SERVER_END, "netns", namespace])
        self._in_switch("link", "set", _port(server), "master", BRIDGE, "up")
        run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        run(["ip", "-n", namespace, "link", "set", SERVER_END, "address", self.site.card(number)])
        run(["ip", "-n", namespace, "address", "add", f"{self.site.address(number)}/24", "dev", SERVER_END])
        run(["ip", "-n", namespace, "link", "set", SERVER_END, "up"])

    def unplug(self, server: str) -> None:
        """Takes the namespace away, too: while it is there, the kernel answers for a dead server. Safe to repeat."""
        self._in_switch("link", "delete", _port(server), check=False)
        run(["ip", "netns", "delete", self.site.namespace(server)], check=False)

    def cable(self, server: str, *, connected: bool) -> None:
        self._in_switch("link", "set", _port(server), "up" if connected else "down", check=connected)

    def drop(self, source: str, target: str) -> None:
        """From now on nothing that `source` (an address) sends reaches `target`; the other direction is another rule."""
        self._filter("-A", "FORWARD", *_packets(source, target), "-j", "DROP")

    def pass_again(self, source: str, target: str) -> None:
        self._filter("-D", "FORWARD", *_packets(source, target), "-j", "DROP")

    def pass_everything(self) -> None:
        self._filter("-F", "FORWARD")

    def slow(self, server: str, rate: str) -> None:
        """At most `rate` (tc's words: 20mbit) in each direction."""
        self._switch_tc("replace", _port(server), "tbf", "rate", rate, *QUEUE)
        self._server_tc(server, "replace", "tbf", "rate", rate, *QUEUE)

    def fast(self, server: str) -> None:
        self._switch_tc("delete", _port(server), check=False)
        self._server_tc(server, "delete", check=False)

    def _in_switch(self, *words: str, check: bool = True) -> None:
        run(["ip", "-n", self.site.switch, *words], check=check)

    def _filter(self, *words: str) -> None:
        run(["ip", "netns", "exec", self.site.switch, "ebtables", *words])

    def _switch_tc(self, verb: str, device: str, *words: str, check: bool = True) -> None:
        run(["tc", "-n", self.site.switch, "qdisc", verb, "dev", device, "root", *words], check=check)

    def _server_tc(self, server: str, verb: str, *words: str, check: bool = True) -> None:
        run(["tc", "-n", self.site.namespace(server), "qdisc", verb, "dev", SERVER_END, "root", *words], check=check)


def _port(server: str) -> str:
    """The switch's end of a cable."""
    return f"p-{server}"


def _packets(source: str, target: str) -> tuple[str, ...]:
    return ("-p", "IPv4", "--ip-src", source, "--ip-dst", target)
