from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from launcher import testing
from launcher.main import CHECKOUT


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each step that would have been run; each succeeds."""
    steps: list[list[str]] = []

    def run(checkout: Path, title: str, words: list[str], *, later: bool = False, before: Sequence[str] = ()) -> int:
        steps.append(words)
        return 0

    monkeypatch.setattr(testing, "_run", run)
    return steps


def it_runs_the_labs_tests_in_processes_of_their_own_beside_the_others(ran: list[list[str]], tmp_path: Path) -> None:
    assert testing.run_tests(tmp_path, []) == 0
    assert [words[0] for words in ran] == ["ruff", "ruff", "mypy", "pytest", "pytest"]
    beside = ["pytest", *testing.TELLING, *testing.LAB_PARALLEL, *testing.LONG, "tests/lab"]
    others = [f"--ignore={path}" for path in ("tests/lab", *testing.LONG)]
    assert sorted(ran[-2:]) == [beside, ["pytest", *testing.TELLING, *testing.PARALLEL, *others]]
    assert all((CHECKOUT / path).exists() for path in testing.LONG)


def it_prints_what_ran_beside_in_one_piece(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spoken.py").write_text("print('one'); raise SystemExit(4)")
    assert testing._run(tmp_path, "beside", ["spoken"], later=True) == 4
    assert capfd.readouterr().out.startswith("== beside\none\n\n== beside: failed (4), ")


def it_runs_nothing_but_what_was_asked_for(ran: list[list[str]], tmp_path: Path) -> None:
    assert testing.run_tests(tmp_path, ["tests/lab", "-x"]) == 0
    assert ran == [["pytest", "tests/lab", "-x"]]


def it_answers_with_the_first_failure(ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_run", lambda checkout, title, words, **_how: {"mypy": 3, "pytest": 1}.get(words[0], 0))
    assert testing.run_tests(tmp_path, []) == 3


@pytest.mark.needs("root")
def it_gives_the_tests_a_temporary_directory_in_memory_that_nobody_else_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_memory_available", lambda: 2 * testing.MEMORY)
    looks = ["sh", "-c", 'stat -f -c %T /tmp; ls -A /tmp; echo "$1"', "looks", "a b"]
    shown = subprocess.run([*testing.in_memory(Path("/srv")), *looks], capture_output=True, text=True, check=True)
    assert shown.stdout == "tmpfs\na b\n"


@pytest.mark.parametrize("checkout", ["/tmp", "/tmp/clone"])
def it_hides_no_checkout(checkout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_memory_available", lambda: 2 * testing.MEMORY)
    assert testing.in_memory(Path(checkout)) == ()


def it_leaves_a_small_machine_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_memory_available", lambda: 2 * testing.MEMORY - 1)
    assert testing.in_memory(Path("/srv")) == ()
