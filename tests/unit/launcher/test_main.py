from __future__ import annotations

import ast
import errno
import os
import runpy
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from launcher import arguments, main
from launcher.complaint import CannotStart

SCRIPT = Path(__file__).resolve().parents[3] / "pgreplica"


def dispatching(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(words: list[str]) -> NoReturn:
        raise error

    monkeypatch.setattr(main, "_dispatch", fail)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CannotStart("this is in the way. Do that."), "this is in the way. Do that."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/state/x"),
            "the disk that holds /state/x is full. Free some space and start again.",
        ),
        (OSError(errno.EDQUOT, "Quota exceeded", "/state/x"), "the disk that holds /state/x is full. Free some space and start again."),
    ],
)
def it_says_one_plain_sentence_and_ends_with_2(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dispatching(monkeypatch, error)
    assert main.main(["up"]) == 2
    assert capsys.readouterr() == ("", f"pgreplica: {sentence}\n")


def it_does_not_hide_a_fault_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatching(monkeypatch, OSError(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output error"):
        main.main(["up"])


def it_ends_quietly_on_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dispatching(monkeypatch, KeyboardInterrupt())
    assert main.main(["up"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def it_says_what_it_can_do(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == 0
    assert capsys.readouterr().out == arguments.USAGE + "\n"


def test_an_old_python_can_read_the_script() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 4))


@pytest.fixture
def old_python(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The script's names, as a Python 3.9 would have them."""
    names = runpy.run_path(str(SCRIPT), run_name="script")
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.delenv("PGREPLICA_PYTHON_TRIED", raising=False)
    return names


def test_an_old_python_goes_on_with_a_newer_one(old_python: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Became(Exception):
        pass

    def execv(program: str, words: list[str]) -> NoReturn:
        raise Became(program, words)

    monkeypatch.setattr("shutil.which", {"python3.12": "/usr/bin/python3.12"}.get)
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["./pgreplica", "up"])
    with pytest.raises(Became) as became:
        old_python["use_newer_python"]()
    assert became.value.args == ("/usr/bin/python3.12", ["/usr/bin/python3.12", "./pgreplica", "up"])


def test_an_old_python_says_which_one_is_needed(
    old_python: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        old_python["use_newer_python"]()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "pgreplica: this is Python 3.9 and the panel needs Python 3.11 or newer. Install one (Debian 12, Ubuntu 24.04 and "
        "Fedora 37 have it as python3) and run: python3.11 ./pgreplica up\n"
    )


def it_hands_the_words_of_the_lab_to_the_tests_part(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(main.environment, "ensure", lambda checkout, requirements: Path("/environment/python"))
    monkeypatch.setattr(os, "chdir", lambda place: became.append([str(place)]))
    monkeypatch.setattr(os, "execv", lambda program, words: became.append(words))
    main.main(["lab", "up", "2"])
    assert became == [[str(main.CHECKOUT)], ["/environment/python", "-m", "tests.lab", "up", "2"]]


def it_says_that_the_lab_is_in_the_source_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(main, "CHECKOUT", tmp_path)
    assert main.main(["lab", "up"]) == 2
    assert capsys.readouterr().err == (
        f"pgreplica: the lab comes with the tests, and {tmp_path} has no directory tests/lab. Use a checkout of the source.\n"
    )
