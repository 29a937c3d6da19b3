from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher import environment
from launcher.complaint import CannotStart


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("embedded", "dev", "install"):
        (tmp_path / f"requirements-{name}.txt").write_text(f"{name}==1\n")
    monkeypatch.setattr("shutil.which", lambda name: None)
    return tmp_path


@pytest.fixture
def ran(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that would have been run, paths below the checkout shortened; each succeeds and makes what it would make."""
    commands: list[str] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        words = [Path(command[0]).name, *command[1:]]
        commands.append(" ".join(words).replace(str(checkout), "."))
        made = {"venv": "python", "ensurepip": "pip", "install": "uv"}
        for word in (word for word in made if word in words):
            (checkout / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
            (checkout / ".venv" / "bin" / made[word]).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environment, "_run", run)
    return commands


PIP = "python -m pip install --quiet --disable-pip-version-check --require-hashes -r"
UV = "uv pip install --quiet --python ./.venv/bin/python --require-hashes -r"


def it_makes_the_environment_once_with_uv_in_it(checkout: Path, ran: list[str]) -> None:
    assert environment.ensure(checkout, "embedded") == environment.ensure(checkout, "embedded") == checkout / ".venv/bin/python"
    assert [command.split(" ", 1)[1] if "venv --clear" in command else command for command in ran] == [
        "-m venv --clear ./.venv",
        "python -m ensurepip",
        f"{PIP} ./requirements-install.txt",
        f"{UV} ./requirements-embedded.txt",
    ]


def it_refreshes_the_environment_when_the_lock_file_changes(checkout: Path, ran: list[str]) -> None:
    environment.ensure(checkout, "embedded")
    ran.clear()
    (checkout / "requirements-embedded.txt").write_text("embedded==2\n")
    environment.ensure(checkout, "embedded")
    assert ran == [f"{UV} ./requirements-embedded.txt"]


def it_takes_the_test_environment_as_good_for_running(checkout: Path, ran: list[str]) -> None:
    environment.ensure(checkout, "dev")
    ran.clear()
    environment.ensure(checkout, "embedded")
    assert ran == []


def it_falls_back_to_pip_where_uv_fails(checkout: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = environment._run
    monkeypatch.setattr(
        environment, "_run", lambda command: subprocess.CompletedProcess(command, 1, "", "") if command[0].endswith("uv") else run(command)
    )
    environment.ensure(checkout, "embedded")
    assert ran[-1] == f"{PIP} ./requirements-embedded.txt"


def it_names_debians_package_where_ensurepip_is_missing(checkout: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(CannotStart, match=r"its module ensurepip is missing\. On Debian and Ubuntu: apt-get install python3-venv;"):
        environment.ensure(checkout, "embedded")
    assert ran == []


def it_says_what_pip_said_last_when_nothing_could_be_installed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").touch()
    monkeypatch.setattr(environment, "_run", lambda command: subprocess.CompletedProcess(command, 1, "", "a\nno route to host\n"))
    with pytest.raises(CannotStart) as refused:
        environment.ensure(checkout, "embedded")
    assert str(refused.value) == (
        "the packages could not be installed: no route to host (the last line pip said). "
        "Check that this machine reaches a Python package index (pip's own settings apply), and run the command again."
    )
    assert not (checkout / ".venv" / environment.STAMP).exists()


def it_is_good_for_those_who_may_not_change_it(checkout: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment.ensure(checkout, "embedded")
    ran.clear()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert environment.ensure(checkout, "embedded") == checkout / ".venv/bin/python"
    assert ran == []


def it_lies_in_the_state_directory_where_the_checkout_may_not_be_written(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREPLICA_STATE_DIR", "/s")
    assert environment.location(checkout) == checkout / ".venv"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert environment.location(checkout) == Path("/s/venv")
