"""The one validator of what people and programs ask for: a form for each kind of job, the same for page, API and command.

    form = REQUEST_FORMS[kind](data)      # data: field name -> text, number, list or object, as a page or JSON has it
    form.is_valid()                       # else form.messages(): {field: [sentence, ...]}
    target = form.declare()               # in the caller's transaction; puts down the rows the job is about
    form.params()                         # JSON for Job.params, without secrets

`cleaned_data` is plain JSON without secrets too; the rows it names are in `form.target`. `declare` may still refuse
(somebody else was faster): ValidationError with a `message_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters import services
from clusters.adoption_forms import AdoptedClusterRequest, AdoptRequest, DiscoverRequest, TakeOverRequest
from clusters.copy_forms import PurgeCopyRequest, RejoinRequest, RestoreCopyRequest
from clusters.form_base import (
    ClusterRequest,
    ConfirmedClusterRequest,
    ConfirmedInstanceRequest,
    InstanceRequest,
    RequestForm,
    ServerRequest,
    Target,
    bindir_field,
    hidden,
    image_field,
    named,
    network_field,
    port_field,
    server_field,
)
from clusters.form_fields import (
    SUPPORTED_MAJORS,
    CheckedField,
    LinesField,
    SecretField,
    SettingsField,
    choice,
    max_rate,
    postgres_major,
)
from clusters.models import Cluster, Instance, ReplicationPair, VerificationRun
from clusters.models.cluster import Lifecycle
from clusters.placement import bindir_choose, image_choose, majors_installed, panel_ports
from clusters.postgres import names
from clusters.postgres.settings import setting
from clusters.promotion_forms import FailoverRequest, PromoteRequest, SwitchoverRequest
from clusters.secrets import Secret
from clusters.server_forms import SshServerRequest
from clusters.sync_forms import CreateSlotRequest, DropSlotRequest, SetSyncRequest, removal_refused

LOCAL_NETWORKS = ["127.0.0.1/32", "::1/128"]


REPLICATION_ROLE: Final[str] = Cluster._meta.get_field("replication_role").default
PANEL_ROLE: Final[str] = Cluster._meta.get_field("panel_role").default


class RemoveStandbyRequest(ConfirmedInstanceRequest):
    def _check(self) -> None:
        instance = self.target.instance
        if instance and instance.role == Instance.Role.PRIMARY:
            self.add_error("instance", _("This is the primary. Only a standby can be removed; to give up all of it, remove the cluster."))
        followers = ReplicationPair.objects.filter(upstream=instance).values_list("standby__name", flat=True)
        if followers:
            self.add_error("instance", _("%(names)s follow this standby. Remove them first.") % {"names": ", ".join(followers)})
        elif instance and (refusal := removal_refused(instance)):
            self.add_error("instance", refusal)


class PlacedRequest(RequestForm):
    """A request that puts a new instance on a server."""

    server = server_field()
    port = port_field()
    bindir = bindir_field()
    image = image_field()
    network = network_field()

    def _check_place(self, major: int) -> None:
        port, server = self.cleaned_data.get("port"), self.target.server
        if server is None:
            return
        if server.in_containers:
            self._try("image", image_choose, server, major, self.cleaned_data.get("image"))
            self._refuse_given(("bindir",), _("This server runs PostgreSQL in containers. Choose an image instead."))
        else:
            self._try("bindir", bindir_choose, server, major, self.cleaned_data.get("bindir"))
            self._refuse_given(("image", "network"), _("This server runs PostgreSQL without containers. Leave it empty."))
        if port and Instance.objects.filter(server=server, port=port).exists():
            self.add_error("port", _("Another instance on this server has this port. Choose another port, or leave it empty."))
        if port in panel_ports(server):
            self.add_error("port", _("The panel itself uses this port. Choose another port, or leave it empty."))

    def _refuse_given(self, fields: tuple[str, ...], sentence: str) -> None:
        for field in fields:
            if self.cleaned_data.get(field):
                self.add_error(field, sentence)


class VerifyRequest(ClusterRequest):
    field_order = ("cluster", "depth", "tables")
    depth = CheckedField(
        choice(VerificationRun.Depth.values),
        label=gettext_lazy("Depth"),
        required=False,
        initial=VerificationRun.Depth.DEEP,
        help_text=gettext_lazy("Content reads every chosen table on both sides, which takes its time; deep is done in seconds."),
        widget=forms.Select(choices=VerificationRun.Depth.choices),
    )
    tables = LinesField(
        names.table_name,
        label=gettext_lazy("Tables to compare"),
        required=False,
        help_text=gettext_lazy("For content: schema.table, one a line. Empty: those of the cluster's database, the smallest first."),
    )

    def _check(self) -> None:
        values = self.cleaned_data
        values["depth"] = values.get("depth") or VerificationRun.Depth.DEEP.value
        if values["tables"] and values["depth"] != VerificationRun.Depth.CONTENT:
            self.add_error("tables", _("Only the depth content compares tables. Choose it, or leave this empty."))
        if not values["tables"]:
            del values["tables"]


def _owner_role(text: str, field: str) -> str:
    return names.role_name(text, field, taken=(REPLICATION_ROLE, PANEL_ROLE))


class CreateClusterRequest(PlacedRequest):
    APART = RequestForm.APART | {"owner_password"}
    field_order = ("name", "server", "postgres_major", "database", "owner_role", "owner_password", "client_networks", "settings")

    name = named(gettext_lazy("Name"))
    postgres_major = CheckedField(
        postgres_major,
        label=gettext_lazy("PostgreSQL version"),
        required=False,
        help_text=gettext_lazy("Empty: the newest one found on the server."),
        widget=forms.Select(choices=[("", gettext_lazy("newest on the server")), *((str(n), str(n)) for n in range(18, 13, -1))]),
    )
    database = CheckedField(names.database_name, label=gettext_lazy("Database"))
    owner_role = CheckedField(_owner_role, label=gettext_lazy("Owner role"))
    owner_password = SecretField(
        label=gettext_lazy("Owner password"), required=False, help_text=gettext_lazy("Empty: the panel makes a long random one.")
    )
    instance = named(gettext_lazy("Name of the primary"), required=False, initial="node1")
    client_networks = LinesField(
        names.cidr,
        label=gettext_lazy("Client networks"),
        required=False,
        initial=LOCAL_NETWORKS,
        help_text=gettext_lazy("Networks (CIDR), one a line, from which applications may connect. Empty: this server only."),
    )
    settings = SettingsField(
        label=gettext_lazy("Settings"), required=False, help_text=gettext_lazy("postgresql.conf settings, one “name = value” a line.")
    )
    owner_password_given: Secret | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        self.owner_password_given = cleaned.pop("owner_password", None)
        return cleaned

    def _check(self) -> None:
        values = self.cleaned_data
        values["instance"] = values.get("instance") or "node1"
        values["client_networks"] = values.get("client_networks") or LOCAL_NETWORKS
        major = values["postgres_major"] = values.get("postgres_major") or self._newest_major()
        if Cluster.objects.filter(name=values["name"]).exists():
            self.add_error("name", _("A cluster of this name exists already. Choose another name."))
        if major:
            self._check_settings(values["settings"], major)
            self._check_place(major)

    def _newest_major(self) -> int | None:
        server = self.target.server
        if server and server.in_containers:
            return int(SUPPORTED_MAJORS[-1])
        majors = majors_installed(server) if server else []
        if not majors:
            self._try("server", bindir_choose, server, 0)
        return majors[0] if majors else None

    def _check_settings(self, settings: dict[str, str], major: int) -> None:
        chosen = [self._try("settings", setting, name, value, major) for name, value in settings.items()]
        self.cleaned_data["settings"] = dict(pair for pair in chosen if pair)

    def declare(self) -> Target:
        values, server = self.params(), self.target.server
        if server is None:
            raise TypeError("declare is for a form that is valid")
        cluster, primary = services.cluster_declare(
            name=values["name"],
            server=server,
            postgres_major=values["postgres_major"],
            database=values["database"],
            owner_role=values["owner_role"],
            owner_password=self.owner_password_given,
            instance_name=values["instance"],
            port=values["port"],
            bindir=values["bindir"],
            image=values["image"],
            network=values["network"],
            client_networks=values["client_networks"],
            settings=values["settings"],
        )
        return Target(cluster, primary, server)


class AddStandbyRequest(PlacedRequest):
    field_order = ("cluster", "server", "name", "upstream", "max_rate")
    cluster = hidden(gettext_lazy("Cluster"))
    name = named(gettext_lazy("Name of the standby"), required=False, help_text=gettext_lazy("Empty: the next free “node” number."))
    upstream = named(gettext_lazy("Follows"), required=False, help_text=gettext_lazy("Empty: the primary."))
    max_rate = CheckedField(
        max_rate,
        label=gettext_lazy("Rate limit of the copy"),
        required=False,
        help_text=gettext_lazy("For example 50M (per second). Empty: as fast as it goes."),
    )
    upstream_row: Instance | None = None

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["upstream"].widget = forms.Select(choices=self._upstreams)  # type: ignore[arg-type]  # callables are fine

    def _upstreams(self) -> list[tuple[str, Any]]:
        name = self.data.get("cluster") or self.initial.get("cluster") or ""
        rows = Instance.objects.filter(cluster__name=name).order_by("role", "name").values_list("name", flat=True)
        return [("", gettext_lazy("the primary")), *((row, row) for row in rows)]

    def _resolve(self) -> None:
        super()._resolve()
        cluster = self.target.cluster
        if self.cleaned_data.get("upstream"):
            self.upstream_row = self._instance("upstream", cluster)
        elif cluster:
            self.upstream_row = cluster.instances.select_related("server").filter(role=Instance.Role.PRIMARY).first()

    def _check(self) -> None:
        cluster, values = self.target.cluster, self.cleaned_data
        if cluster is None or self.upstream_row is None or self.upstream_row.lifecycle != Lifecycle.READY:
            self.add_error("upstream", _("There is nothing to copy from yet: wait for the job that makes that instance."))
            return
        taken = set(cluster.instances.values_list("name", flat=True))
        values["upstream"] = self.upstream_row.name
        values["name"] = values.get("name") or next(name for n in range(1, len(taken) + 2) if (name := f"node{n}") not in taken)
        if values["name"] in taken:
            self.add_error("name", _("This cluster has an instance of this name already. Choose another name."))
        self._check_apart(cluster)
        self._check_place(cluster.postgres_major)

    def _check_apart(self, cluster: Cluster) -> None:
        """Behind one engine a member would be seen under the address of the engine's own bridge, which no pg_hba.conf names."""
        server = self.target.server
        members = cluster.instances.exclude(lifecycle=Lifecycle.PLANNED)  # what was refused or rolled back is no member
        if server and server.in_containers and members.filter(server=server).exists():
            sentence = _("%(server)s runs a member of this cluster already, and two containers of one cluster need two servers.")
            self.add_error("server", sentence % {"server": server.name})

    def declare(self) -> Target:
        values, cluster, server, upstream = self.params(), self.target.cluster, self.target.server, self.upstream_row
        if cluster is None or server is None or upstream is None:
            raise TypeError("declare is for a form that is valid")
        standby = services.instance_declare(
            cluster=cluster,
            server=server,
            name=values["name"],
            role=Instance.Role.STANDBY,
            port=values["port"],
            bindir=values["bindir"],
            image=values["image"] or upstream.image,
            network=values["network"],
        )
        services.pair_declare(upstream=upstream, standby=standby)
        return Target(cluster, standby, server)


#: Kind of job -> the form that validates a request for it.
REQUEST_FORMS: Final[dict[str, type[RequestForm]]] = {
    "check_server": ServerRequest,
    "read_host_key": SshServerRequest,
    "discover": DiscoverRequest,
    "adopt_cluster": AdoptRequest,
    "take_over": TakeOverRequest,
    "forget_cluster": AdoptedClusterRequest,
    "create_cluster": CreateClusterRequest,
    "add_standby": AddStandbyRequest,
    "verify": VerifyRequest,
    "switchover": SwitchoverRequest,
    "failover": FailoverRequest,
    "promote": PromoteRequest,
    "set_sync": SetSyncRequest,
    "create_slot": CreateSlotRequest,
    "drop_slot": DropSlotRequest,
    "rejoin": RejoinRequest,
    "restore_copy": RestoreCopyRequest,
    "purge_copy": PurgeCopyRequest,
    "start_instance": InstanceRequest,
    "stop_instance": ConfirmedInstanceRequest,
    "restart_instance": ConfirmedInstanceRequest,
    "remove_standby": RemoveStandbyRequest,
    "remove_cluster": ConfirmedClusterRequest,
}
