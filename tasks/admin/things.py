"""Lists of what exists: servers, clusters, instances, pairs, verifications."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from clusters.models import Cluster, Instance, ReplicationPair, Server, Verification
from clusters.selectors import SECRETS
from tasks.admin.readonly import PageAdmin, ReadOnlyAdmin, link
from tasks.standing import difference, finding_remark
from tasks.templatetags.panel import age, badge, lag, postgres_state

_CLUSTER_SECRETS = [f"cluster__{name}" for name in SECRETS]


@admin.register(Server)
class ServerAdmin(PageAdmin):
    list_display = ("page", "address_shown", "instances", "base_directory", "looked_at")
    search_fields = ("name", "address")
    list_before_template = "clusters/server_tools.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Server]:
        return super().get_queryset(request).defer("facts").annotate(number=Count("instances"))  # type: ignore[no-any-return]

    def address(self, row: Server) -> str:
        return reverse("server-page", args=[row.name])

    @admin.display(description=_("server"), ordering="name")
    def page(self, row: Server) -> SafeString:
        return link(self.address(row), row.name)

    @admin.display(description=_("address"), ordering="address")
    def address_shown(self, row: Server) -> str:
        return row.address

    @admin.display(description=_("instances"), ordering="number")
    def instances(self, row: Any) -> int:
        return int(row.number)

    @admin.display(description=_("last observed"), ordering="observed_at")
    def looked_at(self, row: Server) -> SafeString:
        return age(row.observed_at)


@admin.register(Cluster)
class ClusterAdmin(PageAdmin):
    list_display = ("page", "postgres_major", "database", "lifecycle", "epoch", "created_at")
    list_filter = (("lifecycle", ChoicesDropdownFilter),)
    search_fields = ("name", "database")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cluster]:
        return super().get_queryset(request).defer(*SECRETS)  # type: ignore[no-any-return]

    def address(self, row: Cluster) -> str:
        return reverse("cluster-page", args=[row.name])

    @admin.display(description=_("cluster"), ordering="name")
    def page(self, row: Cluster) -> SafeString:
        return link(self.address(row), row.name)


@admin.register(Instance)
class InstanceAdmin(PageAdmin):
    list_display = ("page", "server", "port", "role_shown", "looked_at")
    list_filter = (("role", ChoicesDropdownFilter), ("observed_role", ChoicesDropdownFilter), ("lifecycle", ChoicesDropdownFilter))
    search_fields = ("name", "cluster__name", "server__name")
    ordering = ("cluster__name", "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Instance]:
        rows = super().get_queryset(request).select_related("cluster", "server")
        return rows.defer("server__facts", *_CLUSTER_SECRETS)  # type: ignore[no-any-return]

    def address(self, row: Instance) -> str:
        return reverse("cluster-page", args=[row.cluster.name]) + f"#instance-{row.name}"

    @admin.display(description=_("instance"), ordering="cluster__name")
    def page(self, row: Instance) -> SafeString:
        return link(self.address(row), row)

    @admin.display(description=_("role"), ordering="role")
    def role_shown(self, row: Instance) -> str:
        return difference(row) or str(row.get_role_display())

    @admin.display(description=_("last observed"), ordering="observed_at")
    def looked_at(self, row: Instance) -> SafeString:
        return age(row.observed_at)


@admin.register(ReplicationPair)
class PairAdmin(PageAdmin):
    list_display = ("page", "state_shown", "sync_state", "lag_shown", "slot", "looked_at")
    search_fields = ("standby__name", "standby__cluster__name", "slot")
    ordering = ("standby__cluster__name", "standby__name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReplicationPair]:
        rows = super().get_queryset(request).select_related("upstream__cluster", "standby__cluster")
        return rows.defer(*[f"{side}__{name}" for side in ("upstream", "standby") for name in _CLUSTER_SECRETS])  # type: ignore[no-any-return]

    def address(self, row: ReplicationPair) -> str:
        return reverse("cluster-page", args=[row.standby.cluster.name])

    @admin.display(description=_("replication pair"), ordering="standby__name")
    def page(self, row: ReplicationPair) -> SafeString:
        return link(self.address(row), row)

    @admin.display(description=_("replication state"), ordering="state")
    def state_shown(self, row: ReplicationPair) -> str:
        return postgres_state(row.state)

    @admin.display(description=_("lag (bytes · seconds)"), ordering="lag_bytes")
    def lag_shown(self, row: ReplicationPair) -> str:
        return lag(row)

    @admin.display(description=_("last observed"), ordering="observed_at")
    def looked_at(self, row: ReplicationPair) -> SafeString:
        return age(row.observed_at)


TONES = {"ok": "ok", "warning": "warning", "failed": "failed", "unknown": "unknown"}


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin):
    list_display = ("pair_shown", "verdict_shown", "lag_shown", "number", "created_at")
    list_filter = (("verdict", ChoicesDropdownFilter),)
    search_fields = ("pair__standby__name", "pair__standby__cluster__name")
    fields = ("pair_shown", "verdict_shown", "findings_shown", "lag_shown", "job_shown", "created_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Verification]:
        rows = super().get_queryset(request).select_related("pair__upstream__cluster", "pair__standby__cluster")
        return rows.defer(*[f"pair__{side}__{name}" for side in ("upstream", "standby") for name in _CLUSTER_SECRETS])  # type: ignore[no-any-return]

    @admin.display(description=_("replication pair"), ordering="pair__standby__name")
    def pair_shown(self, row: Verification) -> str:
        return str(row.pair)

    @admin.display(description=_("verdict"), ordering="verdict")
    def verdict_shown(self, row: Verification) -> SafeString:
        return badge(TONES.get(row.verdict, "unknown"), row.get_verdict_display())

    @admin.display(description=_("lag (bytes · seconds)"), ordering="lag_bytes")
    def lag_shown(self, row: Verification) -> str:
        return lag(row)

    @admin.display(description=_("findings"))
    def number(self, row: Verification) -> int:
        return len(row.findings)

    @admin.display(description=_("findings"))
    def findings_shown(self, row: Verification) -> SafeString:
        return render_to_string("panel/remarks.html", {"remarks": [finding_remark("", finding) for finding in row.findings]}) or SafeString(
            "–"
        )

    @admin.display(description=_("job"))
    def job_shown(self, row: Verification) -> SafeString | str:
        return link(reverse("job-page", args=[row.job_id]), f"#{row.job_id}") if row.job_id else "–"
