"""Find PostgreSQL on servers, whoever made it, and see which clusters it forms. Nothing is changed."""

from __future__ import annotations

from clusters import services
from clusters.adoption_report import discovery_get, discovery_show
from clusters.discovery import discover
from clusters.hosts.machine import HostError
from clusters.models import Server
from clusters.postgres.found import Found
from tasks.context import Context
from tasks.workflows.step import Step, StepFailed, Workflow


def servers_searched(ctx: Context) -> str:
    """Look for PostgreSQL in containers and outside of them, and ask each"""
    problems: dict[str, list[str]] = {}
    found: list[Found] = []
    for server in Server.objects.filter(name__in=ctx.params["servers"]):
        ctx.check_cancel()
        problems[server.name], seen = _searched(ctx, server)
        found += seen
    if not problems:
        raise StepFailed("None of these servers is registered any more.", "Look at the list of servers, then ask again.")
    services.discovery_record(ctx.job.pk, problems, found)
    asked = sum(1 for each in found if each.facts)
    return f"{len(found)} found on {len(problems)} servers; {asked} could be asked."


def _searched(ctx: Context, server: Server) -> tuple[list[str], list[Found]]:
    """What could not be looked at there, in sentences, and what was found. A server that cannot be reached is such a sentence."""
    try:
        seen = discover(server)
    except HostError as error:
        ctx.warn(f"{server.name} could not be looked at: {error.what}")
        return [f"{error.what} {error.hint}".strip()], []
    for sentence in seen.problems:
        ctx.warn(f"{server.name}: {sentence}")
    for each in seen.found:
        ctx.say(f"{each.label}: {_said_of(each)}")
        if each.error:
            ctx.warn(f"{each.label} could not be asked: {each.error}")
    return seen.problems, seen.found


def _said_of(found: Found) -> str:
    facts = found.facts
    if found.own:
        return f"the panel's own ({found.own})."
    return f"{facts.role}, PostgreSQL {facts.version}, system identifier {facts.system_identifier}." if facts else f"{found.state}."


def clusters_formed(ctx: Context) -> str:
    """See which clusters they form, and grade each"""
    shown = discovery_show(discovery_get(ctx.job.pk))
    for group in shown["clusters"]:
        for row in group["instances"]:
            for finding in row["findings"]:
                ctx.warn(f"{row['label']}: {finding['sentence']} {finding['cure']}")
    formed = [
        {
            "system_identifier": group["system_identifier"],
            "managed_as": group["managed_as"],
            "adoptable": group["adoptable"],
            "instances": [row["label"] for row in group["instances"]],
            "findings": sorted({finding["name"] for row in group["instances"] for finding in row["findings"]}),
        }
        for group in shown["clusters"]
    ]
    ctx.result(discovery=ctx.job.pk, clusters=formed)
    return f"{len(formed)} clusters were found." if formed else "No cluster was found that the panel does not have already."


WORKFLOW = Workflow(steps=(Step(servers_searched), Step(clusters_formed)))
