"""What can be asked for from a page, whether it can be asked for now, and if not, why not.

These reasons only save a click: `job_request` and the first step of each job judge again, from fresh facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.copy_forms import is_astray
from clusters.form_base import InstanceRequest, ServerRequest
from clusters.forms import REQUEST_FORMS
from clusters.models import Cluster, Instance, ReplicationPair, Server, SyncMode
from tasks.adopted import adopted_reason
from tasks.kinds import KINDS, Kind
from tasks.models import Job

ICONS: Final = {
    "check_server": "troubleshoot",
    "read_host_key": "fingerprint",
    "discover": "travel_explore",
    "adopt_cluster": "visibility",
    "take_over": "manage_accounts",
    "forget_cluster": "visibility_off",
    "create_cluster": "add",
    "add_standby": "library_add",
    "verify": "fact_check",
    "switchover": "swap_horiz",
    "failover": "emergency",
    "promote": "call_split",
    "rejoin": "settings_backup_restore",
    "restore_copy": "restore_page",
    "purge_copy": "delete_forever",
    "start_instance": "play_arrow",
    "stop_instance": "stop",
    "restart_instance": "restart_alt",
    "set_sync": "sync_lock",
    "create_slot": "bookmark_add",
    "drop_slot": "bookmark_remove",
    "remove_standby": "delete",
    "remove_cluster": "delete_forever",
}
CONSEQUENCES: Final[dict[str, str | Promise]] = {
    "switchover": gettext_lazy(
        "Sessions of the primary are cut, and nobody can write for a moment. Whoever uses the address with every host is with the new "
        "primary then. Nothing acknowledged is lost; if that cannot be proven, the old primary goes on and nobody is promoted."
    ),
    "failover": gettext_lazy(
        "The old primary is fenced and stopped where its server answers, and kept in quarantine. What the new primary lacks of it is lost "
        "to the cluster. Only bringing the old primary back, where that can still be done, loses nothing."
    ),
    "promote": gettext_lazy(
        "The standby is stopped, leaves its cluster for good and comes back as the primary of a cluster of its own. The old cluster has "
        "one standby less and goes on writing; from then on the two do not know of each other."
    ),
    "remove_cluster": gettext_lazy(
        "Every instance is stopped, and nobody can use the cluster any more. The data directories are put aside, not deleted."
    ),
    "take_over": gettext_lazy(
        "The panel gets roles and lines in pg_hba.conf; each standby follows through a slot of its own, with a new connection of its "
        "receiver. Nothing restarts, and nobody's session is cut."
    ),
    "forget_cluster": gettext_lazy("Nobody is told any more when it stops replicating. It runs on as it does now."),
    "remove_standby": gettext_lazy("The standby is stopped and its slot is dropped. Its data directory is put aside, not deleted."),
    "rejoin": gettext_lazy("It is stopped. Writes that only it has are listed, and are gone from the cluster then; its old data is kept."),
    "restore_copy": gettext_lazy(
        "It is stopped, and has the old data again. It stays in quarantine, and its present data becomes a kept copy."
    ),
    "purge_copy": gettext_lazy("The directory is deleted for good. If it is the last copy of some writes, nobody can read them any more."),
    "set_sync": gettext_lazy("Commits wait for as many standbys as you choose. While too few of them stream, nothing is acknowledged."),
    "drop_slot": gettext_lazy(
        "WAL that the slot kept is removed at the next checkpoint. Whoever read through it may have to be cloned again."
    ),
}
CLUSTER_ACTS: Final = ("switchover", "failover", "add_standby", "verify", "set_sync", "remove_cluster", "take_over", "forget_cluster")
#: Only for clusters that the panel has not made.
OF_ADOPTED: Final = ("take_over", "forget_cluster")
INSTANCE_ACTS: Final = ("start_instance", "stop_instance", "restart_instance", "rejoin", "promote", "create_slot", "remove_standby")
_RUNNING: Final = (Instance.Observed.PRIMARY, Instance.Observed.STANDBY)


@dataclass(frozen=True)
class Act:
    """One thing a person may ask for. `reason` says why it cannot be asked for now; "" means that it can."""

    kind: Kind
    url: str
    reason: str = ""

    @property
    def label(self) -> str:
        return capfirst(str(self.kind.label))

    @property
    def icon(self) -> str:
        return ICONS.get(self.kind.name, "bolt")

    @property
    def at_once(self) -> bool:
        """It changes nothing on the cluster, so it is asked for with one press. Where to look for PostgreSQL is asked first."""
        return not self.kind.mutating and self.kind.name != "discover"


def slug(kind: Kind) -> str:
    """The last part of its page's address, without what the address has said before: /clusters/orders/node2/stop/."""
    if place_of(kind) in ("instance", "server"):
        return kind.name.partition("_")[0]
    return kind.name.removesuffix("_cluster").replace("_", "-")


def kind_of(act: str, place: str) -> Kind | None:
    """The kind whose page has this address below an "instance", a "cluster" or a "server"."""
    return next((kind for kind in KINDS.values() if place_of(kind) == place and slug(kind) == act), None)


def place_of(kind: Kind) -> str:
    """Where the request page of a kind lies: below an "instance", a "cluster" or a "server", what was "found", or nowhere yet ("new")."""
    if kind.name in ("discover", "adopt_cluster"):
        return "found"
    form = REQUEST_FORMS[kind.name]
    if issubclass(form, InstanceRequest):
        return "instance"
    if "cluster" in form.base_fields:
        return "cluster"
    return "server" if issubclass(form, ServerRequest) else "new"


def request_url(
    kind: Kind, *, cluster: str = "", instance: str = "", server: str = "", discovery: str = "", system_identifier: str = ""
) -> str:
    act, place = slug(kind), place_of(kind)
    if place == "found":
        return reverse("adopt-request", args=[discovery, system_identifier]) if discovery else reverse("adopt")
    if place == "instance":
        return reverse("instance-request", args=[cluster, instance, act])
    if place == "cluster":
        return reverse("cluster-request", args=[cluster, act])
    return reverse("server-request", args=[server, act]) if place == "server" else reverse("cluster-create")


def permission_reason(user: User | AnonymousUser | AbstractBaseUser, kind: Kind) -> str:
    if user.has_perm(kind.permission):  # type: ignore[union-attr]
        return ""
    return _("Your account may not do this. It takes the permission “%(permission)s”.") % {"permission": kind.permission}


def busy_reason(kind: Kind, holder: Job | None) -> str:
    if holder is None or not kind.mutating:
        return ""
    return _("Job #%(number)s (%(kind)s) holds this cluster.") % {"number": holder.pk, "kind": holder.get_kind_display()}


def new_cluster_act(user: Any) -> Act:
    kind = KINDS["create_cluster"]
    return Act(kind, request_url(kind), permission_reason(user, kind))


def server_acts(user: Any, server: Server) -> list[Act]:
    """The host key comes first where nobody has confirmed one: nothing else can be asked of such a server."""
    check, read = KINDS["check_server"], KINDS["read_host_key"]
    acts = [Act(check, request_url(check, server=server.name), permission_reason(user, check) or _unpinned(server))]
    if server.connection == Server.Connection.SSH:
        acts.insert(0 if _unpinned(server) else 1, Act(read, request_url(read, server=server.name), permission_reason(user, read)))
    if not _unpinned(server):
        find = KINDS["discover"]
        acts.append(Act(find, f"{request_url(find)}?{urlencode({'servers': server.name})}", permission_reason(user, find)))
    return acts


def _unpinned(server: Server) -> str:
    if server.connection == Server.Connection.SSH and not server.ssh_host_key:
        return _("Its host key is not confirmed yet: read it, compare it, and confirm it first.")
    return ""


def cluster_acts(user: Any, cluster: Cluster, holder: Job | None) -> list[Act]:
    kinds = [KINDS[name] for name in CLUSTER_ACTS if bool(cluster.adopted_at) or name not in OF_ADOPTED]
    kinds = [kind for kind in kinds if kind.name != "take_over" or cluster.is_watched]
    kinds = [kind for kind in kinds if not adopted_reason(kind, cluster)]  # the page says in one sentence what is left out
    return [
        Act(
            kind,
            request_url(kind, cluster=cluster.name),
            permission_reason(user, kind) or busy_reason(kind, holder) or cluster_reason(kind, cluster),
        )
        for kind in kinds
    ]


def cluster_reason(kind: Kind, cluster: Cluster) -> str:
    if cluster.lifecycle == "planned" and kind.name != "remove_cluster":
        return _("The cluster is not made yet. Finish the job that creates it first.")
    return ""


def instance_acts(user: Any, instance: Instance, followers: Sequence[str], holder: Job | None) -> list[Act]:
    """`followers`: the names of the standbys that follow this instance."""
    kinds = [KINDS[name] for name in INSTANCE_ACTS if not adopted_reason(KINDS[name], instance.cluster)]
    return [
        Act(
            kind,
            request_url(kind, cluster=instance.cluster.name, instance=instance.name),
            permission_reason(user, kind) or busy_reason(kind, holder) or instance_reason(kind, instance, followers),
        )
        for kind in kinds
    ]


def instance_reason(kind: Kind, instance: Instance, followers: Sequence[str]) -> str:
    if kind.name == "remove_standby":
        return removal_reason(instance, followers)
    if instance.lifecycle != "ready":
        return _("It is not made yet, or being removed.")
    if kind.name == "rejoin":
        return rejoin_reason(instance)
    if kind.name == "start_instance" and instance.observed_role in _RUNNING:
        return _("It runs already.")
    if kind.name == "stop_instance" and instance.observed_role == Instance.Observed.STOPPED:
        return _("It does not run.")
    return ""


def rejoin_reason(instance: Instance) -> str:
    if instance.role == Instance.Role.PRIMARY:
        return _("It is the declared primary: there is nobody to rejoin.")
    return "" if is_astray(instance) else _("It streams: there is nothing to rejoin.")


def removal_reason(instance: Instance, followers: Sequence[str]) -> str:
    if instance.role == Instance.Role.PRIMARY:
        return _("It is the primary. Only a standby can be removed.")
    if followers:
        return _("%(names)s follow it. Remove them first.") % {"names": ", ".join(followers)}
    return ""


def consequences(kind: Kind, instance: Instance | None) -> str:
    """What those who use the cluster will feel, in one sentence; "" where they will feel nothing."""
    if kind.name in CONSEQUENCES:
        return str(CONSEQUENCES[kind.name])
    if instance is None or kind.name not in ("stop_instance", "restart_instance"):
        return ""
    if instance.role == Instance.Role.PRIMARY:
        return _("This is the primary: open sessions are cut, and nobody can write to the cluster until it runs again.")
    kept = _("This is a standby: open sessions are cut, and while it is down its slot makes its upstream keep WAL for it.")
    waiting = waiting_without(instance)
    return f"{kept} {waiting}" if waiting else kept


def waiting_without(instance: Instance) -> str:
    """What commits do while this standby is down, where they wait for standbys; "" where they wait for nobody."""
    cluster = instance.cluster
    if cluster.sync_mode == SyncMode.ASYNC:
        return ""
    others = ReplicationPair.objects.filter(standby__cluster=cluster, upstream__role=Instance.Role.PRIMARY, state="streaming")
    left = others.exclude(standby=instance).count()
    if left >= cluster.sync_count:
        return _("Commits wait for %(count)s standbys; %(left)s others stream.") % {"count": cluster.sync_count, "left": left}
    return _(
        "Commits wait for %(count)s standbys, and only %(left)s others stream: nobody can commit until this one is back. "
        "Change synchronous replication first, if that must not be."
    ) % {"count": cluster.sync_count, "left": left}


def followers_of(pairs: Sequence[ReplicationPair]) -> dict[int, list[str]]:
    """Instance key -> names of those that follow it."""
    followers: dict[int, list[str]] = {}
    for pair in pairs:
        followers.setdefault(pair.upstream_id, []).append(pair.standby.name)
    return followers
