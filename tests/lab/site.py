"""The names and addresses of one lab. All that belongs to it carries its name, so that it can be found and removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
FIRST_NUMBER = 11


@dataclass(frozen=True)
class Site:
    name: str = "lab"  # short: interfaces have at most 15 letters
    prefix: str = "10.77.0"  # of a /24 network
    base: Path = Path("/var/lib/pgreplica-lab")
    cache: Path = Path("/var/cache/pgreplica-lab")
    locks: Path = Path("/run/lock")

    @property
    def directory(self) -> Path:
        return self.base / self.name

    @property
    def servers(self) -> Path:
        return self.directory / "servers"

    @property
    def lock(self) -> Path:
        return self.locks / f"pgreplica-{self.name}.lock"

    @property
    def cache_lock(self) -> Path:
        """The images are every lab's."""
        return self.locks / "pgreplica-lab-cache.lock"

    @property
    def switch(self) -> str:
        """The network namespace that holds the bridge."""
        return f"{self.name}-switch"

    @property
    def own_link(self) -> str:
        """The interface of this machine itself, where the panel and the tests are."""
        return f"{self.name}0"

    @property
    def own_address(self) -> str:
        return f"{self.prefix}.1"

    def namespace(self, server: str) -> str:
        return f"{self.name}-{server}"

    def address(self, number: int) -> str:
        return f"{self.prefix}.{number}"

    def card(self, number: int) -> str:
        """A network card's address, the same after each boot: else neighbours go on asking for the old one for half a minute."""
        return "02:00:" + ":".join(f"{int(part):02x}" for part in self.address(number).split("."))


#: The tests' lab, and the one of `./pgreplica lab`: neither is in the other's way.
TESTS = Site()
PLAY = Site(name="play", prefix="10.78.0")
