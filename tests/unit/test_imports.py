"""Imports run one way (docs/design, section 3). The files are read, not imported, so that an import inside a function counts too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Package -> the project's packages it may import besides itself.
ALLOWED = {
    "launcher": set(),
    "clusters": set(),
    "tasks": {"clusters"},
    "pgreplica_admin": {"tasks", "clusters", "launcher"},
}
#: Pure parts -> what they may import besides the standard library and themselves.
PURE = {
    "clusters.postgres": {"clusters.secrets", "psycopg.sql"},
    "clusters.hosts": {"clusters.secrets", "clusters.fingerprints", "paramiko", "docker", "requests"},  # the SDK is a requests session
    "clusters.secrets": set(),
    "clusters.fingerprints": set(),
    "launcher": set(),
}
#: What reaches machines; only workers and the monitor may.
MACHINES = ("clusters.instances", "clusters.machines", "clusters.hosts")
#: What answers people and programs, and must never wait for a machine.
EDGES = (
    "clusters.services", "clusters.selectors", "clusters.forms", "clusters.admin", "clusters.api",
    "tasks.services", "tasks.selectors", "tasks.views", "tasks.admin", "tasks.api", "tasks.stream", "tasks.feeds", "tasks.management",
    "pgreplica_admin",
)  # fmt: skip


@dataclass(frozen=True)
class Import:
    module: str  # who imports
    target: str  # what
    line: int
    inside: bool  # in a function
    for_types: bool  # under TYPE_CHECKING

    def __str__(self) -> str:
        return f"{self.module} line {self.line}: {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return [path for package in ALLOWED for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]


def imports_of(path: Path) -> Iterator[Import]:
    yield from walk(ast.parse(path.read_text()), module_name(path), inside=False, for_types=False)


def walk(node: ast.AST, module: str, *, inside: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from (Import(module, target, child.lineno, inside, for_types) for target in targets(child, module))
        else:
            yield from walk(
                child, module,
                inside=inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
                for_types=for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)),
            )  # fmt: skip


def targets(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, f"{module} line {node.lineno}: imports are absolute here"
    return [f"{node.module}.{alias.name}" for alias in node.names]


ALL = [found for path in sources() for found in imports_of(path)]
MODULES = {module_name(path) for path in sources()}


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def module_of(target: str) -> str | None:
    """The project's module that `target` is or is in."""
    while target and target not in MODULES:
        target = target.rpartition(".")[0]
    return target or None


@pytest.mark.parametrize("package", ALLOWED)
def it_imports_no_package_above_itself(package: str) -> None:
    forbidden = set(ALLOWED) - ALLOWED[package] - {package}
    found = [str(one) for one in ALL if below(one.module, package) and one.target.split(".")[0] in forbidden]
    assert found == []


@pytest.mark.parametrize("part", PURE)
def it_keeps_the_pure_parts_to_the_standard_library_and_few_others(part: str) -> None:
    allowed = PURE[part] | {part}
    found = [
        str(one)
        for one in ALL
        if below(one.module, part)
        and one.target.split(".")[0] not in sys.stdlib_module_names
        and not any(below(one.target, name) for name in allowed)
    ]
    assert found == []


def it_finds_no_way_from_pages_api_and_services_to_a_machine() -> None:
    graph: dict[str, set[str]] = {}
    for one in ALL:
        target = module_of(one.target)
        if target and not one.for_types:
            graph.setdefault(one.module, set()).add(target)
    found = [
        " -> ".join(way)
        for start in sorted(MODULES)
        if any(below(start, edge) for edge in EDGES)
        for way in [way_to_machines(graph, start)]
        if way
    ]
    assert found == []


def way_to_machines(graph: dict[str, set[str]], start: str) -> list[str] | None:
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop(0)
        if any(below(way[-1], machine) for machine in MACHINES):
            return way
        following = sorted(graph.get(way[-1], set()) - seen)
        seen.update(following)
        ways += [[*way, module] for module in following]
    return None


def it_hides_no_import_of_the_project_in_a_function() -> None:
    found = [str(one) for one in ALL if one.inside and one.target.split(".")[0] in ALLOWED]
    assert found == []


def it_names_parts_that_exist() -> None:
    """A rule about a module that was renamed would hold for ever."""
    for rule in (*PURE, *MACHINES):
        assert any(below(module, rule) for module in MODULES), rule
