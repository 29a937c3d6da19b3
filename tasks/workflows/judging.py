"""Judge a pair: look at both sides, run the rules over what was seen, and keep findings and verdict."""

from __future__ import annotations

from dataclasses import dataclass

from clusters import services
from clusters.models import ReplicationPair
from clusters.postgres import rules
from clusters.postgres.rules import MarkerState, Verdict, VerifyFacts
from tasks.context import Context
from tasks.workflows.observing import pair_observed


@dataclass(frozen=True)
class Marker:
    """How the marker row fared on its way to the standby."""

    state: MarkerState
    seconds: float | None = None


def pair_judged(ctx: Context, pair: ReplicationPair, marker: Marker) -> Verdict:
    """Look at the pair now, record what was seen, the findings and the verdict; each finding is a warning in the log."""
    facts = _pair_facts(ctx, pair, marker)
    findings = rules.verify_findings(facts)
    for finding in findings:
        ctx.warn(f"{pair.standby.name}: {finding.sentence} {finding.cure}")
    services.verification_record(
        pair,
        verdict=rules.verdict(findings),
        findings=[finding.as_row() for finding in findings],
        lag_bytes=rules.lag_bytes(facts),
        lag_seconds=rules.lag_seconds(facts),
        job_id=ctx.job.pk,
    )
    return rules.verdict(findings)


def _pair_facts(ctx: Context, pair: ReplicationPair, marker: Marker) -> VerifyFacts:
    upstream, standby = pair_observed(ctx, pair)
    return VerifyFacts(
        upstream=upstream.facts,
        standby=standby.facts,
        upstream_name=pair.upstream.name,
        standby_name=pair.standby.name,
        slot=pair.slot,
        upstream_address=pair.upstream.server.address,
        upstream_port=pair.upstream.port,
        upstream_is_primary=not pair.cascaded,
        system_identifier=ctx.cluster.system_identifier,
        upstream_error=upstream.error,
        standby_error=standby.error,
        marker=marker.state,
        marker_seconds=marker.seconds,
        synchronous=None if pair.cascaded else ctx.handle(pair.upstream).spec.synchronous,
        standby_synchronous=ctx.handle(pair.standby).spec.synchronous,
    )
