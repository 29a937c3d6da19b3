"""Which conditions hold. Pure functions over `things`; `CONDITIONS` says what each one means, and the rules how strict it is.

Of one trouble people are told once: what follows from another thing that is told already is left out (`told`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from clusters.postgres.obstacles import size
from clusters.postgres.text import Text
from clusters.postgres.text import gettext_noop as _
from tasks.alerting.rules import Rule
from tasks.alerting.things import ClusterThing, Found, InstanceThing, Known, SlotThing

MEBIBYTE: Final = 1024**2
HOUR: Final = 3600.0
#: With WAL on the way that it has not received, a standby that hears nothing for two of the monitor's looks does not hear.
BEHIND_SILENT_SECONDS: Final = 10.0

Rules = Mapping[str, Rule]
Judge = Callable[[ClusterThing, Rules], Iterable[Found]]


def judged(known: Known, rules: Rules) -> list[Found]:
    """Everything that holds, consequences included; what is switched off is left out."""
    found = [*_panel(known), *(each for cluster in known.clusters for each in cluster_judged(cluster, rules))]
    return [each for each in found if rules[each.condition].enabled]


def cluster_judged(cluster: ClusterThing, rules: Rules) -> list[Found]:
    return [found for judge in JUDGES for found in judge(cluster, rules)]


# -- roles


def several_writable(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    names = [each.name for each in cluster.instances if each.writable]
    if len(names) > 1:
        yield _found(
            "several_writable", cluster, "", "",
            Text(_("%(names)s all accept writes."), names=", ".join(names)),
            Text(_("Keep applications away from all but one at once. Then stop the other ones, and rejoin them.")),
            value=str(len(names)), threshold="1",
        )  # fmt: skip


def role_differs(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in cluster.instances:
        if each.quarantined or each.down or each.observed_role in (each.role, "unknown"):
            continue
        if each.writable:
            sentence = Text(_("%(instance)s is declared a standby and accepts writes: it was promoted."), instance=each.name)
            cure = Text(_("Find out who promoted it, and which instance the applications use, before you change anything."))
        else:
            sentence = Text(_("%(instance)s is declared the primary and accepts no writes: it is in recovery."), instance=each.name)
            cure = Text(_("Find out which instance is the primary now. If there is none, see who made a standby of it."))
        yield _found("role_differs", cluster, each.name, each.name, sentence, cure, value=each.observed_role, threshold=each.role)


def quarantine_running(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in cluster.instances:
        if each.quarantined and each.observed_role in ("primary", "standby"):
            yield _found(
                "quarantine_running", cluster, each.name, each.name,
                Text(_("%(instance)s is in quarantine, and runs."), instance=each.name),
                Text(_("The next verification stops it. Find out who started it, and rejoin it.")),
                value=each.observed_role, threshold="stopped",
            )  # fmt: skip


def down(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in cluster.instances:
        if each.quarantined or not each.down:
            continue
        words = {"instance": each.name, "error": each.error}
        if each.observed_role == "stopped":
            sentence = Text(_("%(instance)s does not run."), instance=each.name)
        elif each.error:
            sentence = Text(_("%(instance)s gives no answer: %(error)s"), **words)
        else:
            sentence = Text(_("%(instance)s gives no answer."), instance=each.name)
        if each.role == "primary":
            cure = Text(_("Open the page of the cluster: it says which standby could take over, and what might be lost."))
            yield _found("primary_down", cluster, each.name, each.name, sentence, cure, value=each.observed_role)
        else:
            cure = Text(_("See whether its server is up, and what its log says; start it if nobody stopped it on purpose."))
            yield _found("standby_down", cluster, each.name, each.name, sentence, cure, value=each.observed_role)


# -- replication


def _streams(cluster: ClusterThing) -> Iterator[tuple[InstanceThing, InstanceThing]]:
    """Each standby that answers as one, and its upstream, which answers too."""
    for each in cluster.instances:
        upstream = cluster.named(each.upstream)
        if each.answers and upstream is not None and upstream.answers and each.observed_role == "standby" and not each.quarantined:
            yield each, upstream


def timeline_differs(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for standby, upstream in _streams(cluster):
        own, other = standby.sampled.get("timeline"), upstream.sampled.get("timeline")
        if own != other and None not in (own, other) and standby.stream not in ("streaming", "catchup"):
            words = {"standby": standby.name, "upstream": upstream.name, "own": own, "other": other}
            yield _found(
                "timeline_differs", cluster, standby.name, standby.name,
                Text(_("%(standby)s is on timeline %(own)s, %(upstream)s on timeline %(other)s, and they do not replicate."), **words),
                Text(_("Read the standby's log. If it has WAL that its upstream lacks, it must be rewound or copied anew: rejoin it.")),
                value=str(own), threshold=str(other),
            )  # fmt: skip


def not_streaming(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for standby, upstream in _streams(cluster):
        if standby.stream not in ("streaming", "catchup"):
            words = {"standby": standby.name, "upstream": upstream.name}
            yield _found(
                "not_streaming", cluster, standby.name, standby.name,
                Text(_("%(upstream)s sends nothing to %(standby)s, though both answer."), **words),
                Text(_("Read the standby's log: it says whether the address, the password, the slot or WAL is the reason. Then verify.")),
                value=standby.stream or "absent", threshold="streaming",
            )  # fmt: skip


def receiver_silent(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for standby, upstream in _streams(cluster):
        silent = standby.sampled.get("receiver_silent_seconds")
        limit = rules["receiver_silent"].limit
        if _lacks_wal(standby, upstream):
            limit = min(limit, BEHIND_SILENT_SECONDS)
        if silent is None or silent <= limit:
            continue
        words = {"standby": standby.name, "upstream": upstream.name, "seconds": round(silent)}
        yield _found(
            "receiver_silent", cluster, standby.name, standby.name,
            Text(_("%(standby)s has heard nothing from %(upstream)s for %(seconds)s seconds, though it holds a connection."), **words),
            Text(_("See whether its walreceiver process is frozen, and whether the network between the two works.")),
            value=str(round(silent)), threshold=str(round(limit)),
        )  # fmt: skip


def _lacks_wal(standby: InstanceThing, upstream: InstanceThing) -> bool:
    has, written = standby.sampled.get("position"), upstream.sampled.get("position")
    return has is not None and written is not None and written > has


def replay_paused(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in _answering(cluster, "standby"):
        if each.sampled.get("replay_paused"):
            yield _found(
                "replay_paused", cluster, each.name, each.name,
                Text(_("Replay on %(instance)s is paused: it receives, and its rows grow old."), instance=each.name),
                Text(_("Resume it: SELECT pg_wal_replay_resume(). If a setting is too low there, its log names it.")),
            )  # fmt: skip


def lag(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in _answering(cluster, "standby"):
        cure = Text(_("See whether its disk, the network or a long query on it holds it up."))
        seconds, limit = each.lag_seconds, rules["lag_seconds"].limit
        if seconds is not None and seconds > limit:
            sentence = Text(_("%(instance)s is %(seconds)s seconds behind."), instance=each.name, seconds=round(seconds))
            yield _found("lag_seconds", cluster, each.name, each.name, sentence, cure, value=str(round(seconds)), threshold=_number(limit))
        most = rules["lag_bytes"].limit * MEBIBYTE
        if each.lag_bytes is not None and each.lag_bytes > most:
            sentence = Text(_("%(instance)s has %(size)s of WAL still to replay."), instance=each.name, size=size(each.lag_bytes))
            yield _found("lag_bytes", cluster, each.name, each.name, sentence, cure, value=size(each.lag_bytes), threshold=size(int(most)))


def commits_wait(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    primary = next(iter(_answering(cluster, "primary")), None)
    if cluster.sync_count == 0 or primary is None:
        return
    confirming = [each.name for each in cluster.instances if each.upstream == primary.name and each.sync_state in ("sync", "quorum")]
    if len(confirming) < cluster.sync_count:
        words = {"primary": primary.name, "count": cluster.sync_count, "number": len(confirming)}
        yield _found(
            "commits_wait", cluster, primary.name, primary.name,
            Text(_("Commits on %(primary)s wait for %(count)s standbys, and %(number)s confirm: no commit ends."), **words),
            Text(_("Bring a standby back. If that takes long, change synchronous replication: commits end then, with a weaker promise.")),
            value=str(len(confirming)), threshold=str(cluster.sync_count),
        )  # fmt: skip


# -- space


def slots(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in cluster.instances:
        if each.answers and not each.quarantined:
            for slot in each.slots:
                yield from _slot(cluster, each, slot, rules)


def _slot(cluster: ClusterThing, each: InstanceThing, slot: SlotThing, rules: Rules) -> Iterator[Found]:
    subject = f"{each.name}/{slot.name}"
    words = {"slot": slot.name, "instance": each.name}
    cure = " ".join(str(cure) for cure in slot.forecast.cures[:2])
    hours = rules["slot_filling"].limit
    kept, most = slot.retained_bytes or 0, rules["slot_retaining"].limit * MEBIBYTE
    if slot.forecast.outlook == "over":
        sentence = Text(_("The slot %(slot)s on %(instance)s is lost: WAL that it should have kept is gone."), **words)
        yield _found("slot_lost", cluster, each.name, subject, sentence, cure, value=slot.wal_status or "")
        return
    if slot.forecast.seconds is not None and slot.forecast.seconds < hours * HOUR:
        left = _hours(slot.forecast.seconds)
        sentence = Text(
            _("The slot %(slot)s on %(instance)s runs out of room in %(hours)s hours, as WAL is written now."), hours=left, **words
        )
        yield _found("slot_filling", cluster, each.name, subject, sentence, cure, value=left, threshold=_number(hours))
    if not slot.active and kept > most:
        sentence = Text(_("The slot %(slot)s on %(instance)s keeps %(size)s of WAL, and nobody uses it."), size=size(kept), **words)
        unused = cure or Text(_("Bring back who uses it; if nobody does any more, drop it."))
        yield _found("slot_retaining", cluster, each.name, subject, sentence, unused, value=size(kept), threshold=size(int(most)))


def disks(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in cluster.instances:
        room = each.room
        if room is None or room.free_bytes is None or not room.total_bytes:
            continue
        percent, least, hours = 100 * room.free_bytes / room.total_bytes, rules["disk_full"].limit, rules["disk_filling"].limit
        cure, words = " ".join(str(cure) for cure in room.forecast.cures[:3]), {"instance": each.name, "size": size(room.free_bytes)}
        if room.forecast.outlook == "over" or percent < least:
            sentence = Text(_("The disk of %(instance)s has %(size)s left."), **words)
            always = cure or Text(_("Delete what is not the database's, or extend the file system."))
            yield _found("disk_full", cluster, each.name, each.name, sentence, always, value=f"{percent:.1f}", threshold=_number(least))
        if room.forecast.seconds is not None and room.forecast.seconds < hours * HOUR:
            left = _hours(room.forecast.seconds)
            sentence = Text(
                _("The disk of %(instance)s is full in %(hours)s hours, as it fills now: %(size)s are left."), hours=left, **words
            )
            yield _found("disk_filling", cluster, each.name, each.name, sentence, cure, value=left, threshold=_number(hours))


def connections_used(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in _answering(cluster, "primary", "standby"):
        used, most = each.sampled.get("connections"), each.sampled.get("max_connections")
        limit = rules["connections_used"].limit
        if used and most and 100 * used / most > limit:
            yield _found(
                "connections_used", cluster, each.name, each.name,
                Text(_("%(instance)s has %(used)s of %(most)s connections."), instance=each.name, used=used, most=most),
                Text(_("See in pg_stat_activity who holds them; a pooler in front takes fewer.")),
                value=f"{100 * used / most:.0f}", threshold=_number(limit),
            )  # fmt: skip


def checksum_failures(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in _answering(cluster, "primary", "standby"):
        if number := each.sampled.get("checksum_failures"):
            yield _found(
                "checksum_failures", cluster, each.name, each.name,
                Text(_("%(number)s data pages of %(instance)s failed their checksum."), number=number, instance=each.name),
                Text(_("Its disk or memory may be failing. Move the primary away from it, then find the damage (pg_amcheck, its log).")),
                value=str(number), threshold="0",
            )  # fmt: skip


# -- verifications

#: Findings that say of a cluster what the monitor says sooner.
TOLD: Final = frozenset(
    {
        "upstream_not_observed", "standby_not_observed", "instance_silent", "several_writable", "standby_not_in_recovery",
        "upstream_in_recovery", "not_streaming", "catching_up", "slot_not_used", "slot_lost", "slot_unreserved", "slot_filling",
        "slot_nearly_full", "timeline_differs", "replay_paused", "lag_bytes", "lag_seconds", "upstream_silent", "checksum_failures",
        "sync_not_met", "sync_commits_wait",
    }
)  # fmt: skip
#: Findings of a run that say that data is wrong, or about to be; of a pair it is the severity that says so.
GRAVE: Final = frozenset({"several_writable", "content_differs", "relation_corrupt"})


def verification(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for finding in cluster.findings:
        if finding.name in TOLD and not cluster.watched:
            continue
        grave = finding.name in GRAVE or finding.severity == "blocks"
        condition = "verification_failed" if grave else "verification_warning"
        subject = f"{finding.instance}/{finding.name}"
        values = {"value": finding.value[:200], "threshold": finding.threshold[:200]}
        yield Found(condition, cluster, finding.instance, subject, finding.sentence, finding.cure, **values)


def not_promotable(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    for each in cluster.instances if cluster.proven else ():
        if each.role == "standby" and each.not_promotable and not each.quarantined:
            cure = Text(_("Open the cluster's board: it names all that is in the way, with what to do. Then verify it deeply again."))
            yield Found("not_promotable", cluster, each.name, each.name, each.not_promotable, cure)


# -- the panel


def verification_late(cluster: ClusterThing, rules: Rules) -> Iterator[Found]:
    if cluster.late_since is not None:
        since = f"{cluster.late_since:%Y-%m-%d %H:%M} UTC"
        yield _found(
            "verification_late", cluster, "", "",
            Text(_("Its standing verification has not run since %(moment)s."), moment=since),
            Text(_("See whether worker and beat run, and whether many jobs wait.")),
            value=since,
        )  # fmt: skip


def _panel(known: Known) -> Iterator[Found]:
    for each in known.stuck:
        yield Found("job_needs_operator", each.cluster, "", str(each.job), each.sentence, each.hint, value=f"#{each.job}")
    if known.monitor_dead and known.clusters:
        since = f"{known.monitor_since:%Y-%m-%d %H:%M:%S} UTC" if known.monitor_since else "-"
        sentence = Text(_("No monitor goes round; the last round was at %(moment)s."), moment=since)
        cure = Text(_("Start it: ./pgreplica up and compose do; by hand it is `manage.py monitor`. Its log says why it ended."))
        yield Found("monitor_dead", None, "", "", sentence, cure, value=since)
    if known.workers_since is not None:
        since = f"{known.workers_since:%Y-%m-%d %H:%M:%S} UTC"
        sentence = Text(_("No worker has taken up anything since %(moment)s: jobs, a failover too, wait."), moment=since)
        cure = Text(
            _("See whether the broker, beat and a worker run. Where eight long jobs keep the only worker busy, start a second worker.")
        )
        yield Found("workers_silent", None, "", "", sentence, cure, value=since)


JUDGES: Final[tuple[Judge, ...]] = (
    several_writable,
    role_differs,
    quarantine_running,
    down,
    timeline_differs,
    not_streaming,
    receiver_silent,
    replay_paused,
    lag,
    commits_wait,
    slots,
    disks,
    connections_used,
    checksum_failures,
    verification,
    not_promotable,
    verification_late,
)


# -- what follows from what

#: Condition -> those that make it a mere consequence where they hold for the same instance (for some: anywhere in the cluster).
_NONE: Final[frozenset[str]] = frozenset()
_OF_INSTANCE: Final[Mapping[str, frozenset[str]]] = {
    "not_streaming": frozenset({"timeline_differs", "receiver_silent"}),
    "lag_seconds": frozenset({"timeline_differs", "receiver_silent", "not_streaming", "replay_paused"}),
    "lag_bytes": frozenset({"timeline_differs", "receiver_silent", "not_streaming", "replay_paused", "lag_seconds"}),
    "slot_retaining": frozenset({"slot_filling", "slot_lost"}),
    "disk_filling": frozenset({"disk_full"}),
}
_OF_CLUSTER: Final[Mapping[str, frozenset[str]]] = {
    "role_differs": frozenset({"several_writable"}),
    "quarantine_running": frozenset({"several_writable"}),
    "primary_down": frozenset({"role_differs"}),
    "timeline_differs": frozenset({"several_writable", "role_differs"}),
    "not_streaming": frozenset({"several_writable", "role_differs", "primary_down"}),
    "receiver_silent": frozenset({"several_writable", "role_differs", "primary_down"}),
    "commits_wait": frozenset({"several_writable", "role_differs", "primary_down"}),
    # The board looks at every member: whatever ails one of them is in the way of promoting another.
    "not_promotable": frozenset(
        {
            "several_writable",
            "role_differs",
            "quarantine_running",
            "primary_down",
            "standby_down",
            "timeline_differs",
            "not_streaming",
            "receiver_silent",
            "replay_paused",
            "lag_seconds",
            "lag_bytes",
            "slot_lost",
            "slot_filling",
            "disk_full",
            "verification_failed",
            "verification_warning",
        }
    ),
}
#: What the monitor sees of an instance or a cluster, and a verification then finds in its own words.
TROUBLE: Final = frozenset(
    {"standby_down", "quarantine_running", "timeline_differs", "not_streaming", "receiver_silent", "replay_paused", "slot_lost"}
)
TROUBLE_OF_ALL: Final = frozenset({"several_writable", "role_differs", "primary_down"})
#: Findings that are trouble of their own, whatever else holds.
_OWN: Final = frozenset(
    {"content_differs", "relation_corrupt", "epoch_higher", "file_drifted", "file_missing", "setting_overridden", "setting_differs",
     "image_drifted"}
)  # fmt: skip


#: While one of these holds, what verifications find of pairs may come of it; and what a deep one finds in the way of a promotion.
TROUBLE_OF_PAIRS: Final = TROUBLE | TROUBLE_OF_ALL
TROUBLE_OF_PROMOTIONS: Final = _OF_CLUSTER["not_promotable"]


def consequences(found: Iterable[Found]) -> set[tuple[str, str, str]]:
    """The keys of those that follow from another one: they begin no alert, and end none."""
    by_cluster: dict[str, list[Found]] = {}
    for each in found:
        if each.cluster is not None:
            by_cluster.setdefault(each.cluster.name, []).append(each)
    return {each.key for members in by_cluster.values() for each in members if _follows(each, members)}


def _follows(each: Found, members: Iterable[Found]) -> bool:
    own, any_ = _OF_INSTANCE.get(each.condition, _NONE), _OF_CLUSTER.get(each.condition, _NONE)
    if each.condition in ("verification_failed", "verification_warning") and each.subject.rpartition("/")[2] not in _OWN:
        own, any_ = TROUBLE, TROUBLE_OF_ALL
    return any(
        other.condition in any_ or (other.condition in own and (other.subject == each.subject or other.instance == each.instance))
        for other in members
        if other is not each
    )


def _found(
    condition: str,
    cluster: ClusterThing,
    instance: str,
    subject: str,
    sentence: Text | str,
    cure: Text | str,
    *,
    value: str = "",
    threshold: str = "",
) -> Found:
    return Found(condition, cluster, instance, subject, sentence, cure, value, threshold)


def _answering(cluster: ClusterThing, *roles: str) -> Iterator[InstanceThing]:
    return (each for each in cluster.instances if each.answers and each.observed_role in roles and not each.quarantined)


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.1f}"


def _number(value: float) -> str:
    return f"{value:g}"
