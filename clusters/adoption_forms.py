"""What is asked of a person about PostgreSQL that the panel has not made: where to look for it, and what to do with what was found."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters import services
from clusters.adoption_report import database_of, group_of
from clusters.form_base import ConfirmedClusterRequest, RequestForm, Target, named
from clusters.form_fields import CheckedField, LinesField, translated
from clusters.models import Cluster, Discovery, Server
from clusters.postgres import names
from clusters.postgres.adoption_rules import adoption_obstacles
from clusters.postgres.found import Found, Group
from clusters.postgres.refused import NameRefused
from clusters.postgres.text import gettext_noop


def number(text: str, field: str) -> int:
    """The number of a job."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NameRefused(field, gettext_noop("%(field)s: write the number of the job that looked for PostgreSQL."))
    return int(text)


def identifier(text: str, field: str) -> str:
    """A system identifier, and not an empty one."""
    if not (text.isascii() and text.isdigit()):
        raise NameRefused(field, gettext_noop("%(field)s: write the system identifier of the cluster, as the report has it."))
    return names.system_identifier(text, field)


class DiscoverRequest(RequestForm):
    servers = LinesField(names.object_name, label=gettext_lazy("Servers"), required=False, help_text=gettext_lazy("Empty: every server."))

    def _check(self) -> None:
        known = list(Server.objects.values_list("name", flat=True))
        chosen = self.cleaned_data["servers"] = self.cleaned_data["servers"] or known
        unknown = [name for name in chosen if name not in known]
        if unknown:
            self.add_error("servers", _("There is no server %(names)s. See: server list.") % {"names": ", ".join(unknown)})
        if not chosen:
            self.add_error("servers", _("No server is registered yet. Register one first."))

    def declare(self) -> Target:
        chosen = self.cleaned_data["servers"]
        return Target(server=Server.objects.filter(name=chosen[0]).first() if len(chosen) == 1 else None)


class AdoptRequest(RequestForm):
    """Named by the discovery's job and the system identifier that the report shows."""

    field_order = ("discovery", "system_identifier", "name")

    discovery = CheckedField(number, label=gettext_lazy("Found by job"), widget=forms.HiddenInput)
    system_identifier = CheckedField(identifier, label=gettext_lazy("System identifier"), widget=forms.HiddenInput)
    name = named(
        gettext_lazy("Name"), help_text=gettext_lazy("What the panel is to call the cluster. Nothing on the servers has this name.")
    )
    database = CheckedField(
        names.database_name,
        label=gettext_lazy("Database"),
        required=False,
        help_text=gettext_lazy("The application's, for connection strings. Empty: the largest one."),
    )
    group: Group | None = None

    def _resolve(self) -> None:
        super()._resolve()
        discovery = Discovery.objects.filter(job_id=self.cleaned_data.get("discovery") or 0).first()
        self.group = group_of(discovery, self.cleaned_data.get("system_identifier") or "") if discovery else None

    def _check(self) -> None:
        if self.group is None:
            self.add_error("system_identifier", _("That job found no such cluster. Look for PostgreSQL again."))
            return
        managed = Cluster.objects.filter(system_identifier=self.group.system_identifier).values_list("name", flat=True).first()
        if managed:
            self.add_error("system_identifier", _("It is the cluster %(name)s of this panel already.") % {"name": managed})
        if Cluster.objects.filter(name=self.cleaned_data["name"]).exists():
            self.add_error("name", _("A cluster of this name exists already. Choose another name."))
        for found, obstacle in adoption_obstacles(self.group):
            self.add_error(None, f"{found.label}: {translated(obstacle.sentence)} {translated(obstacle.cure)}")
        for found in self.group.members:
            self._check_usable(found)
        self._check_database(self.group)

    def _check_usable(self, found: Found) -> None:
        if not Server.objects.filter(name=found.server).exists():
            self.add_error(None, _("The server %(name)s is not registered any more.") % {"name": found.server})
        if found.way == "container":
            self._try("__all__", names.image, found.image)
            self._try("__all__", names.container_name, found.name)
        else:
            self._try("__all__", names.directory, found.bindir, "bindir")

    def _check_database(self, group: Group) -> None:
        known = dict(group.members[0].databases)
        chosen = self.cleaned_data.get("database") or database_of(group)[0]
        if chosen not in known:
            self.add_error("database", _("The primary has no such database. It has: %(names)s.") % {"names": ", ".join(known)})
        self.cleaned_data["database"] = chosen

    def declare(self) -> Target:
        if self.group is None:
            raise TypeError("declare is for a form that is valid")
        servers = {server.name: server for server in Server.objects.filter(name__in={member.server for member in self.group.members})}
        cluster = services.cluster_adopt(self.group, servers, name=self.cleaned_data["name"], database=self.cleaned_data["database"])
        return Target(cluster)


class AdoptedClusterRequest(ConfirmedClusterRequest):
    """For a cluster that the panel has not made."""

    def _check(self) -> None:
        if self.target.cluster and self.target.cluster.adopted_at is None:
            self.add_error("cluster", _("The panel has made this cluster itself: there is nothing to take over or to stop watching."))


class TakeOverRequest(AdoptedClusterRequest):
    def _check(self) -> None:
        super()._check()
        cluster = self.target.cluster
        if cluster is None or self.errors:
            return
        if not cluster.is_watched:
            self.add_error("cluster", _("It was taken over already."))
        if any(row.layout.get("way") != "container" for row in cluster.instances.all()):
            sentence = _("Not every instance runs in a container. Others are watched only, as yet: their files belong to another user.")
            self.add_error("cluster", sentence)
