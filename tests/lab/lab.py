"""The lab as a whole: its lock, its network, its servers, and that nothing of it is left in the end."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.cgroups import Cgroups
from tests.lab.commands import LabError, run
from tests.lab.locks import locked
from tests.lab.network import Network
from tests.lab.server import LabServer
from tests.lab.site import FIRST_NUMBER, NAMES, TESTS, Site
from tests.lab.template import engine_data, near

CHECKOUT = Path(__file__).resolve().parents[2]


class Lab:
    """`with Lab() as lab: lab.up(3)`. While one is open, another of the same name waits."""

    def __init__(self, site: Site = TESTS) -> None:
        self.site = site
        self.network = Network(site)
        self.servers: dict[str, LabServer] = {}
        self._reaper: subprocess.Popen[bytes] | None = None
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Lab:
        with contextlib.ExitStack() as held:
            descriptor = held.enter_context(locked(self.site.lock))
            sweep(self.site)
            self._reaper = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.reaper", self.site.name, self.site.prefix, str(self.site.base)],
                cwd=CHECKOUT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[descriptor], start_new_session=True,
            )  # fmt: skip
            self._held = held.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """The reaper does the removing here, too: so it is tried in each run."""
        with self._held:
            reaper, self._reaper = self._reaper, None
            if reaper is not None:
                reaper.communicate(timeout=120)
                if reaper.returncode != 0:
                    sweep(self.site)  # which raises what was in the reaper's way, unless somebody killed it

    def up(self, count: int = 3, *, images: Sequence[str] | None = None) -> list[LabServer]:
        """Bring `count` servers up, each with the stand-in images (all of them unless named)."""
        self.site.directory.mkdir(parents=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self.key)])
        self.network.up()
        template = near(engine_data(self.site, self.public_key, images), self.site.directory)
        self.servers = {name: LabServer(self.site, name, FIRST_NUMBER + number) for number, name in enumerate(NAMES[:count])}
        at_once(lambda server: self._begin(server, template), self.servers.values())
        self.write_known_hosts()
        return list(self.servers.values())

    def find(self) -> dict[str, LabServer]:
        """The servers of a lab that somebody else has brought up, in the order of their addresses."""
        numbers = {path.parent.name: int(path.read_text()) for path in self.site.servers.glob("*/number")}
        self.servers = {name: LabServer(self.site, name, numbers[name]) for name in sorted(numbers, key=lambda name: numbers[name])}
        return self.servers

    def _begin(self, server: LabServer, template: Path) -> None:
        server.make(self.public_key, template)
        server.boot()

    @property
    def key(self) -> Path:
        """The private key that every server lets in as root."""
        return self.site.directory / "id_ed25519"

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text().strip()

    def write_known_hosts(self) -> None:
        lines = (f"{server.address} {server.host_key}\n" for server in self.servers.values())
        (self.site.directory / "known_hosts").write_text("".join(lines))

    def __getitem__(self, name: str) -> LabServer:
        return self.servers[name]

    @contextlib.contextmanager
    def parted(self, one: LabServer | str, other: LabServer | str, *, one_way: bool = False) -> Iterator[None]:
        """Neither hears the other, and everybody else hears both. `one_way`: only what `one` sends is lost. An address stands for
        this machine or anything else in the lab.
        """
        sides = [side if isinstance(side, str) else side.address for side in (one, other)]
        ways = [sides] if one_way else [sides, sides[::-1]]
        for source, target in ways:
            self.network.drop(source, target)
        try:
            yield
        finally:
            for source, target in ways:
                self.network.pass_again(source, target)

    def heal(self) -> None:
        """Every server on, every fault taken back."""
        self.network.pass_everything()
        at_once(LabServer.heal, self.servers.values())


def sweep(site: Site) -> None:
    """Remove all that carries this lab's name: processes, namespaces, control groups, files. What is not there is no fault."""
    network, cgroups = Network(site), Cgroups(site)
    namespaces = {name.removeprefix(f"{site.name}-") for name in network.namespaces()} - {site.switch.removeprefix(f"{site.name}-")}
    directories = {path.name for path in site.servers.iterdir()} if site.servers.is_dir() else set()
    at_once(lambda name: LabServer(site, name, 0).power_off(), sorted(namespaces | directories | cgroups.servers()))
    network.down()
    cgroups.remove_all()
    if site.directory.exists():
        _refuse_mounts(site.directory)
        shutil.rmtree(site.directory)


def _refuse_mounts(directory: Path) -> None:
    """The servers' mounts are in namespaces of their own. Were one here, removing the directory would remove this machine's files."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [place for place in places if Path(place).is_relative_to(directory)]
    if below:
        raise LabError(f"{', '.join(below)} is mounted where the lab's files are; unmount it, then the lab can be removed")


def at_once(act: Callable[..., object], subjects: object) -> None:
    """`act` on all of them at the same time; the first fault is raised when all have ended."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        outcomes = [pool.submit(act, subject) for subject in subjects]  # type: ignore[attr-defined]
    for outcome in outcomes:
        outcome.result()
