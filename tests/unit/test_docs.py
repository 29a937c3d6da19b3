"""The documents are tested: what the code has appears in the reference, what the documents name is there, no link is dead."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from django.core.management.base import BaseCommand
from django.db.models import TextChoices

from clusters.models import Instance, Verification
from clusters.models.cluster import Lifecycle
from clusters.postgres import files, rules, statements
from pgreplica_admin.api import api
from tasks.access import ROLES
from tasks.alerting.conditions import CONDITIONS
from tasks.kinds import KINDS, Status, StepStatus
from tasks.metrics import METRICS
from tasks.models import ApiToken, JobEvent
from tasks.verdicts import VERDICTS
from tasks.workflows import workflow_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
PRODUCT = ("launcher", "pgreplica_admin", "tasks", "clusters")

#: Calls that read an environment variable, and variables that belong to the system or to Django.
READS = {"get", "pop", "setdefault", "getenv"}
NOT_OURS = {"PATH", "DJANGO_SETTINGS_MODULE"}
VARIABLE = re.compile(r"PGREPLICA_[A-Z_]*[A-Z]")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|source|a)\b[^>]*?(?:src|srcset|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
#: The words that this project does not use for the two roles, in the languages of its interface.
OLD_WORDS = re.compile(r"\b(master|slave|mestre|escrav[oa])s?\b", re.IGNORECASE)
#: Addresses that stand for the reader's own.
EXAMPLE_HOSTS = re.compile(r"(.+\.)?example\.(com|org|net)|localhost|127\.0\.0\.1")


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def missing(names: Iterable[str], name: str) -> list[str]:
    """Those that the page does not have in backticks."""
    text = page(name)
    return [word for word in dict.fromkeys(names) if f"`{word}`" not in text]


def product_files() -> list[Path]:
    return [ROOT / "pgreplica", *(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))]


# -- what the code has


def it_names_every_kind_of_job_and_its_permission() -> None:
    assert missing((word for kind in KINDS.values() for word in (kind.name, kind.permission)), "job-kinds.md") == []


@pytest.mark.parametrize("kind", KINDS)
def it_tells_every_step_of_a_kind(kind: str) -> None:
    section = page("job-kinds.md").partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    assert [step.title for step in workflow_of(kind).steps if step.title not in section] == []


@pytest.mark.parametrize(
    "choices", [Status, StepStatus, Verification.Verdict, Instance.Role, Instance.Observed, Lifecycle, JobEvent.Level], ids=str
)
def it_names_every_status(choices: type[TextChoices]) -> None:
    assert missing(choices.values, "statuses.md") == []


def it_names_every_verdict_of_the_fleet() -> None:
    assert missing((verdict.name for verdict in VERDICTS), "statuses.md") == []


def it_names_every_group_and_scope() -> None:
    assert missing([*ROLES, *ApiToken.Scope.values], "access.md") == []


def it_names_every_environment_variable() -> None:
    assert len(variables()) > 20, "the variables are not found any more: look how the code reads them now"
    assert missing(sorted(variables()), "settings.md") == []


def it_names_no_environment_variable_that_is_gone() -> None:
    others = [*(ROOT / "tests").glob("*.py"), ROOT / "compose.yml"]
    tests = {name for path in others for name in VARIABLE.findall(path.read_text())}
    named = {(path.name, name) for path in PAGES for name in VARIABLE.findall(path.read_text())}
    assert sorted((path, name) for path, name in named if name not in variables() | tests) == []


def it_names_every_command_and_verb() -> None:
    assert len(list(commands())) > 20, "the commands are not found any more"
    assert missing(commands(), "commands.md") == []


def test_every_metric_is_explained():
    assert missing(METRICS, "metrics.md") == []


def it_tells_every_condition_of_alerts_as_it_comes() -> None:
    text = page("alerts.md")
    for name, condition in CONDITIONS.items():
        threshold = "-" if condition.threshold is None else f"{condition.threshold:g} {condition.unit}"
        cells = (f"`{name}`", condition.says, condition.source, condition.severity, f"{condition.hold_seconds} s", threshold)
        assert f"| {' | '.join(map(str, cells))} |\n" in text


def it_names_every_route_of_the_api() -> None:
    paths = api.get_openapi_schema()["paths"]
    routes = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert len(routes) > 20
    assert missing(routes, "api.md") == []


def it_names_every_obstacle_and_finding() -> None:
    found = obstacle_names()
    assert len(found) >= len({rule.__name__ for rule in (*rules.PLACE_RULES, *rules.CLONE_RULES, *rules.VERIFY_RULES)})
    assert missing(sorted(found), "obstacles-and-findings.md") == []


def it_tells_every_right_that_the_panel_gives() -> None:
    grants = " ".join(str(value.text) for value in vars(statements).values() if isinstance(value, statements.Statement))
    functions = re.findall(r"pg_catalog\.(\w+\([a-z, ]*\))", "".join(re.findall(r"GRANT EXECUTE ON FUNCTION (.*?) TO ", grants)))
    memberships = re.findall(r"GRANT (pg_\w+) TO ", grants)
    assert (len(functions), len(memberships)) >= (8, 2), "the grants are not found any more"
    assert missing([*functions, *memberships], "postgres-roles.md") == []


def it_tells_every_setting_that_the_panel_writes() -> None:
    text = page("files.md")
    assert [setting.name for _title, settings in files.DEFAULTS for setting in settings if f"`{setting.name}" not in text] == []


# -- the documents by themselves


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def it_has_no_dead_link(path: Path) -> None:
    assert [target for target in links(path) if is_dead(path, target)] == []


def it_links_to_no_other_host() -> None:
    targets = [(path.name, target) for path in PAGES for target in links(path) if urlsplit(target).scheme]
    assert [(name, target) for name, target in targets if not EXAMPLE_HOSTS.fullmatch(urlsplit(target).hostname or "")] == []


def it_reaches_every_page_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += [there for target in links(path) if (there := place(path, target)).suffix == ".md" and there.is_file()]
    assert sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path not in reached) == []


def it_says_primary_and_standby() -> None:
    shown = [path for place in ("templates", "static", "locale", *PRODUCT) for path in (ROOT / place).rglob("*")]
    texts = [path for path in (*shown, *PAGES) if path.suffix in (".html", ".js", ".css", ".svg", ".po", ".py", ".txt", ".md", ".sh")]
    hits = [(path, line) for path in texts for line in path.read_text().splitlines() if OLD_WORDS.search(line)]
    assert [(str(path.relative_to(ROOT)), line.strip()) for path, line in hits] == []


# -- how the code is read


@cache
def variables() -> frozenset[str]:
    """The environment variables that the product reads or sets."""
    return frozenset(name for path in product_files() for name in variables_of(ast.parse(path.read_text()))) - NOT_OURS


def variables_of(tree: ast.AST) -> Iterator[str]:
    """Texts that are a variable of ours, and whatever is read from `env` or `os.environ` by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
            yield node.value
        if isinstance(node, ast.Call) and node.args and is_environment(node.func):
            yield from texts_of(node.args[0])
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield from texts_of(node.slice)
        if isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) in ("os.environ", "environment"):
            yield from texts_of(node.left)


def is_environment(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute):
        return False
    owner = ast.unparse(function.value)
    return owner == "env" or (owner == "os.environ" and function.attr in READS) or ast.unparse(function) == "os.getenv"


def texts_of(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def commands() -> Iterator[str]:
    """`<noun> <verb>` of each of our management commands, or its name alone where it has no verbs."""
    for path in sorted(ROOT.glob("*/management/commands/*.py")):
        if path.stem.startswith("_"):
            continue
        command: BaseCommand = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)).Command()
        verbs = list(verbs_of(command.create_parser("manage.py", path.stem)))
        yield from (f"{path.stem} {verb}" for verb in verbs) if verbs else (path.stem,)


def verbs_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or (action.dest == "verb" and action.choices):
            yield from action.choices or ()


def obstacle_names() -> set[str]:
    """The first argument of every call that makes an obstacle, or of the helper to which two rules give their names."""
    names: set[str] = set()
    for path in (ROOT / "clusters" / "postgres").glob("*_rules.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ("obstacle", "_not_observed"):
                names |= set(texts_of(node.args[0]))
    return names


# -- how the documents are read


def links(path: Path) -> list[str]:
    text = FENCE.sub("", COMMENT.sub("", path.read_text()))
    return [first or second for first, second in LINK.findall(text)]


def place(path: Path, target: str) -> Path:
    """The file that a relative link means."""
    name = unquote(target.partition("#")[0])
    return (path.parent / name).resolve() if name else path


def is_dead(path: Path, target: str) -> bool:
    if urlsplit(target).scheme:
        return False
    there, anchor = place(path, target), target.partition("#")[2]
    return not there.exists() or bool(anchor and anchor not in anchors(there))


@cache
def anchors(path: Path) -> frozenset[str]:
    """The headings as they are linked to: small letters, spaces as hyphens, other signs left out."""
    titles = HEADING.findall(FENCE.sub("", path.read_text()))
    return frozenset(re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-") for title in titles)
