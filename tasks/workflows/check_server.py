"""Look at a server: what machine it is, how much room it has, and which PostgreSQL programs are there."""

from __future__ import annotations

from dataclasses import asdict

from django.conf import settings

from clusters import services
from clusters.hosts.listening import listening_ports
from clusters.hosts.process import find_postgres
from clusters.machines import machine_of
from tasks.context import Context
from tasks.workflows.step import Step, StepFailed, Workflow


def machine_seen(ctx: Context) -> str:
    """See what machine it is"""
    machine = machine_of(ctx.server)
    facts = machine.facts()
    disks = [asdict(disk) for disk in machine.disks([ctx.server.base_directory])]
    ctx.keep(facts={**facts, "disks": disks, "ports_in_use": listening_ports(machine)})
    return f"{facts['hostname']}: {facts['system']} {facts['release']} on {facts['machine']}, {facts['libc']}, {facts['cpus']} processors."


def postgres_found(ctx: Context) -> str:
    """Find its PostgreSQL programs"""
    extra = [settings.EMBEDDED_POSTGRES_BINDIR] if settings.EMBEDDED_POSTGRES_BINDIR else []
    found = find_postgres(machine_of(ctx.server), extra)
    if not found:
        raise StepFailed(
            "No complete set of PostgreSQL 14 to 18 programs was found.",
            "Install the server package (Debian: postgresql-16, say), then check the server again.",
        )
    ctx.keep(postgres=[asdict(each) for each in found])
    for each in found:
        ctx.say(f"PostgreSQL {each.version} in {each.bindir}")
    return f"{len(found)} found; the newest is {found[0].version}."


def facts_recorded(ctx: Context) -> str:
    """Record what was seen"""
    states = {step.name: step.state for step in ctx.job.steps.all()}
    facts = {**states["machine_seen"]["facts"], "postgres": states["postgres_found"]["postgres"]}
    services.server_record_facts(ctx.server, facts)
    ctx.result(server=ctx.server.name, facts=facts)
    return f"What was seen of {ctx.server.name} is recorded."


WORKFLOW = Workflow(steps=(Step(machine_seen), Step(postgres_found), Step(facts_recorded)))
