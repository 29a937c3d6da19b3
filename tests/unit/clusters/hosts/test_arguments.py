from __future__ import annotations

import pytest

from clusters.hosts.arguments import argv_checked, display, env_checked, path_checked, tree_checked
from clusters.hosts.errors import ArgumentRefused, HostError, inert


@pytest.mark.parametrize("path", ["", "a/b", "./a", "/a/../b", "/a/./b", "/a\0b", "~/a", "-rf"])
def it_refuses_a_path_that_is_not_absolute_and_plain(path: str) -> None:
    with pytest.raises(ArgumentRefused, match=r"is not an absolute path without “\.\.”\."):
        path_checked(path)


@pytest.mark.parametrize(
    ("path", "normal"), [("/a//b/", "/a/b"), ("/", "/"), ("//a", "/a"), ("/a b/'\"$x\n/-rf", "/a b/'\"$x\n/-rf"), ("/…/..a", "/…/..a")]
)
def it_carries_any_other_path_through(path: str, normal: str) -> None:
    assert path_checked(path) == normal


@pytest.mark.parametrize("path", ["/", "/etc", "//etc/"])
def it_moves_and_deletes_nothing_next_to_the_root(path: str) -> None:
    with pytest.raises(ArgumentRefused, match="too near to the root directory"):
        tree_checked(path)


@pytest.mark.parametrize("argv", [[], "ls -l", [""], ["-c", "x"], ["ls", "a\0b"], ["ls", 1]])
def it_refuses_what_is_not_a_command(argv: list[str]) -> None:
    with pytest.raises(ArgumentRefused):
        argv_checked(argv)


@pytest.mark.parametrize("env", [{"A B": "x"}, {"": "x"}, {"A=B": "x"}, {"1A": "x"}, {"A": "\0"}, {"A\n": "x"}])
def it_refuses_variables_that_a_shell_would_drop(env: dict[str, str]) -> None:
    with pytest.raises(ArgumentRefused, match="cannot be passed on"):
        env_checked(env)


def it_shows_a_command_in_one_bounded_inert_line() -> None:
    assert display(["psql", "-c", "select\n'\x1b[2J\u202e'"]) == "psql -c 'select '\"'\"' [2J '\"'\"''"
    assert len(display(["x" * 500])) == 200


def it_makes_text_of_a_machine_fit_for_a_sentence_and_for_utf_8() -> None:
    assert inert(" a\x00\x1b]8;;\x07b\udcff\n") == "a ]8;; b?"


def it_keeps_template_and_values_for_translation() -> None:
    error = HostError("No %(what)s there.", "Look for %(what)s.", what="100% x")
    assert (error.what, error.hint, str(error)) == ("No 100% x there.", "Look for 100% x.", "No 100% x there.")
    assert (error.template, error.hint_template, error.values) == ("No %(what)s there.", "Look for %(what)s.", {"what": "100% x"})
