"""Look at a server: whether it can be reached and used, what machine it is, how much room it has, which programs are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from django.conf import settings

from clusters import services
from clusters.hosts.listening import listening_ports
from clusters.hosts.process import find_postgres
from clusters.hosts.ssh import SSHMachine
from clusters.hosts.ssh_errors import HostKeyChanged
from clusters.hosts.survey import survey
from clusters.machines import machine_of
from clusters.models import Server
from clusters.server_findings import server_findings
from tasks.context import Context
from tasks.workflows.step import Step, StepFailed, Workflow

_WAYS = {"self": "it is the login itself", "setpriv": "by setpriv", "sudo": "by sudo"}


def connected(ctx: Context) -> str:
    """Reach it, and become its system user"""
    machine = machine_of(ctx.server)
    with _host_key_noticed(ctx.server):
        owner = machine.owner()
    if not isinstance(machine, SSHMachine):
        ctx.keep(owner=owner)
        return f"It is this machine; its system user is {owner}."
    identity = machine.identity()
    ctx.keep(owner=owner, login=identity.login_name, way=identity.way)
    return f"Logged in as {identity.login_name or identity.login}; its system user is {owner} ({_WAYS.get(identity.way, identity.way)})."


@contextmanager
def _host_key_noticed(server: Server) -> Iterator[None]:
    """What the server offered is kept, so that its page can show both fingerprints."""
    try:
        yield
    except HostKeyChanged as changed:
        if changed.offered and changed.pinned == server.ssh_host_key:
            services.host_key_record(server, changed.offered)
        raise


def machine_seen(ctx: Context) -> str:
    """See what machine it is"""
    machine = machine_of(ctx.server)
    facts = machine.facts()
    disks = [asdict(disk) for disk in machine.disks([ctx.server.base_directory])]
    ctx.keep(facts={**facts, "disks": disks, "ports_in_use": listening_ports(machine)})
    return f"{facts['hostname']}: {facts['system']} {facts['release']} on {facts['machine']}, {facts['libc']}, {facts['cpus']} processors."


def tools_found(ctx: Context) -> str:
    """See its clock, its tools and its Docker engine"""
    seen = survey(machine_of(ctx.server))
    ctx.keep(survey=seen)
    docker, difference = seen["docker"], seen["clock_difference_seconds"]
    engine = f"Docker {docker['engine']}, Compose {docker['compose'] or 'none'}" if docker["engine"] else "no Docker engine"
    clock = "no time was said" if difference is None else f"the clock differs by {difference:+.1f} s"
    return f"{engine}; {clock}; tools: {', '.join(seen['tools']) or 'none'}."


def postgres_found(ctx: Context) -> str:
    """Find its PostgreSQL programs"""
    local = ctx.server.connection == Server.Connection.LOCAL
    extra = [settings.EMBEDDED_POSTGRES_BINDIR] if local and settings.EMBEDDED_POSTGRES_BINDIR else []
    found = find_postgres(machine_of(ctx.server), extra)
    ctx.keep(postgres=[asdict(each) for each in found])
    for each in found:
        ctx.say(f"PostgreSQL {each.version} in {each.bindir}")
    return f"{len(found)} found; the newest is {found[0].version}." if found else "None was found."


def forwarding_tried(ctx: Context) -> str:
    """Try whether its SSH forwards ports, over which the panel talks to PostgreSQL"""
    machine = machine_of(ctx.server)
    if not isinstance(machine, SSHMachine):
        return "Not needed: it is this machine."
    ctx.keep(forwards=machine.forwards())
    return "It does." if ctx.state["forwards"] else "It forbids it for this login."


def facts_recorded(ctx: Context) -> str:
    """Record what was seen"""
    states = {step.name: step.state for step in ctx.job.steps.all()}
    facts = {
        **states["machine_seen"]["facts"],
        **states["tools_found"]["survey"],
        **states["connected"],
        **states["forwarding_tried"],
        "postgres": states["postgres_found"]["postgres"],
    }
    services.server_record_facts(ctx.server, facts)
    ctx.result(server=ctx.server.name, facts=facts)
    return f"What was seen of {ctx.server.name} is recorded."


def judged(ctx: Context) -> str:
    """Say what is missing"""
    found = server_findings(ctx.server)
    ctx.result(findings=found)
    for finding in found:
        ctx.warn(f"{finding['sentence']} {finding['cure']}")
    failed = [finding for finding in found if finding["severity"] == "failed"]
    if failed:
        raise StepFailed(" ".join(finding["sentence"] for finding in failed), " ".join(finding["cure"] for finding in failed))
    return f"{ctx.server.name} can be used; {len(found)} remarks." if found else f"{ctx.server.name} can be used; nothing is missing."


WORKFLOW = Workflow(
    steps=(
        Step(connected),
        Step(machine_seen),
        Step(tools_found),
        Step(postgres_found),
        Step(forwarding_tried),
        Step(facts_recorded),
        Step(judged),
    ),
    summary=lambda ctx: f"What was seen of {ctx.server.name} is recorded. " + judgement(ctx.server),
)


def judgement(server: Server) -> str:
    return f"{len(found)} remarks." if (found := server_findings(server)) else "Nothing is missing."
