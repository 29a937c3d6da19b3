from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import ArgumentRefused, Disk, Fence, HostError, PathRefused, VerbFailed
from clusters.hosts.shell import Call, Sink
from tests.unit.clusters.hosts.conftest import uid_of

ODD_NAMES = [
    "a b",
    "'",
    '"',
    "$HOME",
    "$(touch x)",
    "`id`",
    "a\nb",
    "-rf",
    "--",
    "*",
    "?[a]",
    "\\",
    "\\n",
    "ü🐘",
    ";id",
    "x=y",
    ".h",
    "..x",
    "~",
    "\x1b[2J",
    "é" * 120,
]
ROOT = Path(__file__).resolve().parents[4]


class ByOneLine(LocalMachine):
    """As over SSH: the command arrives as one line for a shell, every word quoted by shlex."""

    def stream(self, call: Call, out: Sink, err: Sink) -> int:
        line = ["sh", "-c", shlex.join(call.argv)]
        return super().stream(Call(line, call.shown, call.timeout, call.stdin, call.env, call.as_owner), out, err)


def refused(call: object, word: str) -> PathRefused:
    with pytest.raises(PathRefused) as caught:
        call()  # type: ignore[operator]
    assert caught.value.word == word
    assert caught.value.hint
    return caught.value


class TestNames:
    @pytest.mark.parametrize("kind_of_machine", [LocalMachine, ByOneLine])
    @pytest.mark.parametrize("name", ODD_NAMES)
    def it_carries_any_name_through_every_verb(self, kind_of_machine: type[LocalMachine], open_directory: Path, name: str) -> None:
        odd, base, fence = kind_of_machine(), str(open_directory), Fence(f"{open_directory}/orders/.token", 7)
        directory, moved = f"{base}/{name}", f"{base}/moved {name}"
        odd.make_directory(directory, 0o750, fence)
        odd.write_file(f"{directory}/{name}", b"content", 0o640, fence)
        assert (odd.kind(directory), odd.kind(f"{directory}/{name}"), odd.exists(f"{directory}/other")) == ("directory", "file", False)
        assert odd.list_directory(directory) == [name]
        odd.move(directory, moved, fence)
        assert odd.read_file(f"{moved}/{name}") == odd.read_tail(f"{moved}/{name}") == b"content"
        assert odd.disks([moved])[0].path == moved
        assert odd.directory_bytes(moved) > 0
        assert odd.remove_owned_tree(moved, name, "content", fence) is True
        assert sorted(odd.list_directory(base) or []) == ["orders"]

    def it_lists_names_that_are_not_utf_8(self, machine: LocalMachine, base: str) -> None:
        name = os.fsdecode(b"a\xffb")
        machine.write_file(f"{base}/{name}", b"x")
        assert machine.list_directory(base) == [name]
        assert machine.read_file(f"{base}/{name}") == b"x"

    @pytest.mark.parametrize("path", ["relative", "/a/../b", "/a\0b", ""])
    def it_sends_no_path_that_is_not_absolute_and_plain(self, machine: LocalMachine, path: str) -> None:
        for verb in (machine.read_file, machine.kind, machine.list_directory, machine.make_directory, machine.free_bytes, machine.unit):
            with pytest.raises(ArgumentRefused):
                verb(path)


class TestReading:
    def it_gives_none_for_what_is_not_there(self, machine: LocalMachine, base: str) -> None:
        for path in (f"{base}/a", f"{base}/a/b/c"):
            assert (machine.read_file(path), machine.read_tail(path), machine.list_directory(path)) == (None, None, None)
            assert (machine.kind(path), machine.exists(path), machine.directory_bytes(path)) == ("absent", False, 0)

    def it_gives_every_byte_up_to_the_limit_and_refuses_more(self, machine: LocalMachine, base: str) -> None:
        data = bytes(range(256)) * 16 + b"\n\n"
        machine.write_file(f"{base}/a", data)
        assert machine.read_file(f"{base}/a", len(data)) == data
        assert refused(lambda: machine.read_file(f"{base}/a", len(data) - 1), "too-large").what.endswith("bytes, so it was not read.")
        assert machine.read_tail(f"{base}/a", 3) == data[-3:]
        assert machine.read_tail(f"{base}/a") == data
        machine.write_file(f"{base}/a", b"")
        assert (machine.read_file(f"{base}/a"), machine.read_tail(f"{base}/a")) == (b"", b"")

    def it_reads_only_plain_files_and_lists_only_directories(self, machine: LocalMachine, base: str) -> None:
        os.mkfifo(f"{base}/pipe", 0o666)
        machine.write_file(f"{base}/file", b"")
        for path in (base, f"{base}/pipe", "/dev/null"):
            refused(lambda path=path: machine.read_file(path), "not-file")
            refused(lambda path=path: machine.read_tail(path), "not-file")
        for path in (f"{base}/file", f"{base}/pipe"):
            refused(lambda path=path: machine.list_directory(path), "not-directory")

    def it_tells_kinds_apart_without_following_a_link(self, machine: LocalMachine, base: str) -> None:
        machine.write_file(f"{base}/file", b"")
        os.mkfifo(f"{base}/pipe", 0o600)
        for name, target in (("to-file", "file"), ("to-directory", base), ("dangling", "nowhere")):
            os.symlink(target, f"{base}/{name}")
        names = ["file", "pipe", "to-file", "to-directory", "dangling", "none"]
        assert [machine.kind(f"{base}/{name}") for name in names] == ["file", "other", "symlink", "symlink", "symlink", "absent"]
        assert machine.exists(f"{base}/dangling")

    @pytest.mark.needs("root")
    def it_says_that_it_may_not_look_instead_of_that_nothing_is_there(self, open_directory: Path) -> None:
        machine = LocalMachine("nobody")
        (open_directory / "closed" / "in").mkdir(parents=True)
        (open_directory / "closed" / "file").touch(0o600)
        (open_directory / "closed").chmod(0o700)
        for path in (f"{open_directory}/closed/file", f"{open_directory}/closed/none", f"{open_directory}/closed/in/deep/er"):
            for verb in (machine.read_file, machine.read_tail, machine.kind, machine.list_directory, machine.directory_bytes, machine.unit):
                refused(lambda verb=verb, path=path: verb(path), "denied")
        (open_directory / "closed").chmod(0o711)
        refused(lambda: machine.read_file(f"{open_directory}/closed/file"), "denied")
        refused(lambda: machine.list_directory(f"{open_directory}/closed"), "denied")


class TestWriting:
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
    def it_writes_content_mode_and_owner(self, machine: LocalMachine, base: str, fence: Fence, mode: int) -> None:
        data = bytes(range(256)) * 300
        machine.write_file(f"{base}/a", b"old", 0o600, fence)
        machine.write_file(f"{base}/a", data, mode, fence)
        found = os.stat(f"{base}/a")
        assert (machine.read_file(f"{base}/a"), stat.S_IMODE(found.st_mode), found.st_uid) == (data, mode, uid_of(machine))
        assert machine.list_directory(base) == ["a", "orders"]

    def it_refuses_links_directories_and_what_has_no_directory(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        machine.write_file(f"{base}/real", b"kept", fence=fence)
        os.symlink("real", f"{base}/link")
        os.symlink("nowhere", f"{base}/dangling")
        os.mkfifo(f"{base}/pipe", 0o666)
        refused(lambda: machine.write_file(f"{base}/link", b"x", fence=fence), "symlink")
        refused(lambda: machine.write_file(f"{base}/dangling", b"x", fence=fence), "symlink")
        refused(lambda: machine.write_file(base, b"x", fence=fence), "not-file")
        refused(lambda: machine.write_file(f"{base}/pipe", b"x", fence=fence), "not-file")
        refused(lambda: machine.write_file(f"{base}/none/a", b"x", fence=fence), "absent")
        assert machine.read_file(f"{base}/real") == b"kept"
        assert machine.list_directory(base) == ["dangling", "link", "orders", "pipe", "real"]

    def it_shows_the_old_or_the_new_content_and_never_a_part(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        contents = [bytes([number]) * 200_000 for number in range(12)]
        machine.write_file(f"{base}/a", contents[0], 0o644, fence)
        seen: set[bytes] = set()
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                seen.add(Path(f"{base}/a").read_bytes())

        reader = threading.Thread(target=look)
        os.chmod(base, 0o755)
        reader.start()
        for content in contents:
            machine.write_file(f"{base}/a", content, 0o644, fence)
        stop.set()
        reader.join()
        assert seen <= set(contents)

    def it_leaves_the_old_file_when_the_content_arrives_in_part(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        """As when a connection drops: standard input ends early."""

        class Cut(LocalMachine):
            def stream(self, call: Call, out: Sink, err: Sink) -> int:
                stdin = call.stdin and call.stdin[:-1]
                return super().stream(Call(call.argv, call.shown, call.timeout, stdin, call.env, call.as_owner), out, err)

        machine.write_file(f"{base}/a", b"old", fence=fence)
        with pytest.raises(VerbFailed, match=r"The server could not do it \(write "):
            Cut(machine.run_as).write_file(f"{base}/a", b"new content", fence=fence)
        assert machine.read_file(f"{base}/a") == b"old"
        assert machine.list_directory(base) == ["a", "orders"]

    def it_says_what_the_system_said_and_nothing_of_the_content(self, machine: LocalMachine, base: str) -> None:
        """/dev/full stands for a full disk."""
        os.symlink("/dev/full", f"{base}/full")
        script = 'ulimit -f 0; exec "$@"'

        class Full(LocalMachine):
            def stream(self, call: Call, out: Sink, err: Sink) -> int:
                argv = ["sh", "-c", script, "sh", *call.argv]
                return super().stream(Call(argv, call.shown, call.timeout, call.stdin, call.env, call.as_owner), out, err)

        with pytest.raises(HostError) as caught:
            Full(machine.run_as).write_file(f"{base}/a", b"canary-secret" * 1000)
        assert "canary" not in repr((caught.value, caught.value.__dict__))
        assert machine.list_directory(base) == ["full"]

    def it_cleans_up_after_a_worker_that_was_killed_while_it_wrote(self, base: str, machine: LocalMachine, fence: Fence) -> None:
        machine.write_file(f"{base}/a", b"old", fence=fence)
        Path(f"{base}/.pgreplica.new").write_bytes(b"half of it")
        machine.write_file(f"{base}/a", b"new", fence=fence)
        assert (machine.read_file(f"{base}/a"), machine.list_directory(base)) == (b"new", ["a", "orders"])


class TestDirectories:
    def it_makes_directories_and_their_parents_and_finds_them_again(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        for mode in (0o750, 0o700):
            machine.make_directory(f"{base}/a/b", mode, fence)
            modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (f"{base}/a", f"{base}/a/b")]
            assert modes == [0o700, mode]
        assert os.stat(f"{base}/a/b").st_uid == uid_of(machine)

    def it_makes_no_directory_where_something_else_is(self, machine: LocalMachine, base: str) -> None:
        machine.write_file(f"{base}/file", b"")
        os.symlink(base, f"{base}/link")
        refused(lambda: machine.make_directory(f"{base}/file"), "not-directory")
        refused(lambda: machine.make_directory(f"{base}/link"), "not-directory")
        with pytest.raises(VerbFailed, match=r"The server could not do it \(mkdir .*Not a directory"):
            machine.make_directory(f"{base}/file/below")

    def it_makes_the_base_directory_with_the_panels_rights(self, machine: LocalMachine, open_directory: Path) -> None:
        path = open_directory / "new" / "base"
        for _turn in range(2):
            machine.make_base_directory(str(path))
            assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o700, uid_of(machine))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755

    @pytest.mark.needs("root")
    def it_takes_no_directory_of_somebody_else_for_the_base(self, open_directory: Path) -> None:
        theirs, link = open_directory / "theirs", open_directory / "link"
        theirs.mkdir(mode=0o755)
        link.symlink_to(theirs)
        machine = LocalMachine("nobody")
        refused(lambda: machine.make_base_directory(str(theirs)), "denied")
        refused(lambda: machine.make_base_directory(str(link)), "not-directory")
        assert (stat.S_IMODE(theirs.stat().st_mode), theirs.stat().st_uid) == (0o755, 0)

    def it_makes_a_directory_that_carries_its_owners_name_from_the_first_moment(
        self, machine: LocalMachine, base: str, fence: Fence
    ) -> None:
        path = f"{base}/orders/alpha"
        assert machine.make_owned_directory(path, ".made-by", "job 1\n", fence) is True
        assert machine.make_owned_directory(path, ".made-by", "job 1\n", fence) is False
        assert (machine.list_directory(path), machine.read_file(f"{path}/.made-by")) == ([".made-by"], b"job 1\n")
        refused(lambda: machine.make_owned_directory(path, ".made-by", "job 2\n", fence), "not-owned")
        refused(lambda: machine.make_owned_directory(base, ".made-by", "job 2\n", fence), "not-owned")
        refused(lambda: machine.make_owned_directory(f"{path}/.made-by", ".made-by", "job 1\n", fence), "not-owned")

    @pytest.mark.parametrize(("name", "text"), [("a/b", "x"), ("..", "x"), ("", "x"), ("a", ""), ("a", " \n")])
    def it_refuses_an_owner_file_that_proves_nothing(self, machine: LocalMachine, base: str, name: str, text: str) -> None:
        for verb in (machine.make_owned_directory, machine.remove_owned_tree):
            with pytest.raises(ArgumentRefused):
                verb(f"{base}/a", name, text)


class TestMoving:
    def it_moves_files_directories_and_links(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        machine.write_file(f"{base}/file", b"x", fence=fence)
        machine.make_directory(f"{base}/directory/in", fence=fence)
        os.symlink("nowhere", f"{base}/link")
        for name in ("file", "directory", "link"):
            machine.move(f"{base}/{name}", f"{base}/orders/{name}", fence)
        assert machine.list_directory(base) == ["orders"]
        assert [machine.kind(f"{base}/orders/{name}") for name in ("file", "directory", "link")] == ["file", "directory", "symlink"]

    def it_overwrites_nothing_and_moves_into_nothing(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        machine.make_directory(f"{base}/source", fence=fence)
        machine.make_directory(f"{base}/target", fence=fence)
        machine.write_file(f"{base}/file", b"", fence=fence)
        os.symlink("nowhere", f"{base}/dangling")
        for target in ("target", "file", "dangling", "source"):
            refused(lambda target=target: machine.move(f"{base}/source", f"{base}/{target}", fence), "exists")
        assert machine.list_directory(f"{base}/target") == []

    def it_deletes_one_file_and_nothing_else(self, machine: LocalMachine, base: str, fence: Fence) -> None:
        machine.write_file(f"{base}/file", b"x")
        machine.remove_file(f"{base}/file", fence)
        machine.remove_file(f"{base}/file", fence)  # gone already: no error
        assert not machine.exists(f"{base}/file")
        machine.make_directory(f"{base}/directory")
        with pytest.raises(PathRefused, match="not a plain file"):
            machine.remove_file(f"{base}/directory", fence)

    def it_says_which_end_is_missing(self, machine: LocalMachine, base: str) -> None:
        machine.write_file(f"{base}/file", b"")
        assert f"{base}/none" in refused(lambda: machine.move(f"{base}/none", f"{base}/a"), "absent").what
        assert f"{base}/no/where" in refused(lambda: machine.move(f"{base}/file", f"{base}/no/where/a"), "absent").what

    @pytest.mark.skipif(
        not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev, reason="needs two file systems"
    )
    def it_does_not_copy_between_file_systems(self, machine: LocalMachine, base: str) -> None:
        machine.make_directory(f"{base}/source")
        target = f"/dev/shm/pgr-{os.getpid()}"
        refused(lambda: machine.move(f"{base}/source", target), "device")
        assert not Path(target).exists()

    def it_moves_nothing_next_to_the_root(self, machine: LocalMachine, base: str) -> None:
        for source, target in (("/tmp", f"{base}/a"), (base, "/a")):
            with pytest.raises(ArgumentRefused, match="too near to the root"):
                machine.move(source, target)


class TestDeleting:
    @pytest.fixture
    def tree(self, machine: LocalMachine, base: str) -> str:
        machine.make_directory(f"{base}/tree/deep/er")
        machine.write_file(f"{base}/tree/.hidden", b"")
        machine.write_file(f"{base}/tree/deep/er/file", b"", 0o400)
        machine.write_file(f"{base}/outside", b"kept")
        os.symlink(f"{base}/outside", f"{base}/tree/link")
        os.symlink(base, f"{base}/tree/deep/link")
        machine.write_file(f"{base}/tree/owner", b"job 1\n")
        return f"{base}/tree"

    def it_deletes_a_tree_that_names_its_owner_and_follows_no_link(self, machine: LocalMachine, base: str, tree: str) -> None:
        assert machine.remove_owned_tree(tree, "owner", "job 1\n") is True
        assert machine.list_directory(base) == ["outside"]
        assert machine.remove_owned_tree(tree, "owner", "job 1\n") is False

    @pytest.mark.parametrize(
        ("name", "text"),
        [("owner", "job 2"), ("owner", "job"), ("owner", "job 1\njob 2"), ("none", "job 1"), ("deep", "job 1"), ("*", "job 1")],
    )
    def it_deletes_nothing_else(self, machine: LocalMachine, tree: str, name: str, text: str) -> None:
        before = machine.list_directory(tree)
        refused(lambda: machine.remove_owned_tree(tree, name, text), "not-owned")
        assert machine.list_directory(tree) == before

    def it_believes_no_link_that_stands_for_the_owner_file_or_the_tree(self, machine: LocalMachine, base: str, tree: str) -> None:
        os.symlink(f"{tree}/owner", f"{tree}/linked")
        refused(lambda: machine.remove_owned_tree(tree, "linked", "job 1"), "not-owned")
        os.symlink(tree, f"{base}/tree-link")
        refused(lambda: machine.remove_owned_tree(f"{base}/tree-link", "owner", "job 1"), "not-directory")
        refused(lambda: machine.remove_owned_tree(f"{base}/outside", "owner", "job 1"), "not-directory")

    def it_takes_up_a_deletion_that_was_cut_short(self, machine: LocalMachine, tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The owner file is the last to go."""
        os.chmod(f"{tree}/deep/er", 0o500)
        with pytest.raises(VerbFailed, match=r"The server could not do it \(remove "):
            machine.remove_owned_tree(tree, "owner", "job 1")
        assert "owner" in (machine.list_directory(tree) or [])
        os.chmod(f"{tree}/deep/er", 0o700)
        assert machine.remove_owned_tree(tree, "owner", "job 1") is True


class TestLooking:
    def it_knows_the_disk_of_what_is_and_of_what_will_be(self, machine: LocalMachine, base: str) -> None:
        slack = 1 << 28  # others write to this disk too
        before = os.statvfs(base)
        there, nowhere = machine.disks([base, f"{base}/no/where"])
        after = os.statvfs(base)
        free = sorted(each.f_bavail * each.f_frsize for each in (before, after))
        assert abs(there.total_bytes - before.f_blocks * before.f_frsize) < 1024
        assert free[0] - slack < there.free_bytes < free[1] + slack
        assert nowhere == Disk(f"{base}/no/where", there.mount, there.total_bytes, nowhere.free_bytes)
        assert 0 < machine.free_bytes(base) <= there.total_bytes
        assert machine.disks([]) == []

    def it_measures_a_directory(self, machine: LocalMachine, base: str) -> None:
        machine.write_file(f"{base}/a", b"x" * 1_000_000)
        assert 1_000_000 <= machine.directory_bytes(base) <= 1_100_000
        refused(lambda: machine.directory_bytes(f"{base}/a"), "not-directory")

    def it_knows_the_facts_of_the_machine(self, machine: LocalMachine) -> None:
        facts = machine.facts()
        uname = os.uname()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        assert facts == {
            "system": uname.sysname,
            "release": uname.release,
            "machine": uname.machine,
            "hostname": uname.nodename,
            "libc": facts["libc"],
            "cpus": os.cpu_count(),
            "memory_bytes": facts["memory_bytes"],
        }
        assert str(facts["libc"]).startswith(("glibc 2.", "musl")) or uname.sysname != "Linux"
        assert abs(int(facts["memory_bytes"]) - memory) < memory // 20


def it_survives_a_kill_at_any_moment_of_a_write(tmp_path: Path) -> None:
    """The worker and its shell are killed after a growing delay: the file is the old one or a new one, and can be written again."""
    machine, path = LocalMachine(), f"{tmp_path}/a"
    contents = [bytes([number]) * 100_000 for number in (1, 2)]
    machine.write_file(path, contents[0])
    script = (
        "import sys; from clusters.hosts.local import LocalMachine; from clusters.hosts.machine import Fence\n"
        "print('ready', flush=True)\n"
        "while True: LocalMachine().write_file(sys.argv[1], bytes([2]) * 100_000, fence=Fence(sys.argv[2], int(sys.argv[3])))"
    )
    for turn in range(10):
        argv = [sys.executable, "-c", script, path, f"{tmp_path}/.token", str(2 * turn)]
        worker = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(turn * 0.003)  # not a wait for something: the moment of the kill
        worker.kill()
        worker.communicate()
        assert machine.read_file(path) in contents
        # A newer token: what the killed worker has still under way is refused from here on.
        machine.write_file(path, contents[0], fence=Fence(f"{tmp_path}/.token", 2 * turn + 1))
        assert sorted(machine.list_directory(str(tmp_path)) or []) == [".token", ".token.lock", "a"]
        assert machine.read_file(path) == contents[0]
