"""How a person gets to a cluster with psql or a connection string. A password that is revealed or used is in the audit trail."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from clusters.models import Cluster, Instance
from clusters.postgres.names import SUPERUSER
from clusters.postgres.quoting import pgpass_line, uri
from clusters.postgres.spec import Member
from clusters.secrets import Secret
from tasks.audit import audit_append
from tasks.console.base import Ended, Exit, actor


@dataclass(frozen=True)
class Way:
    """Where to connect, and as whom."""

    cluster: Cluster
    instances: list[Instance]
    user: str

    @property
    def members(self) -> list[Member]:
        return [Member(row.name, row.server.address, row.port) for row in self.instances]

    @property
    def uri(self) -> str:
        """Without password. To all instances it says that the primary is wanted; to one it takes what there is."""
        return uri(self.members, self.user, self.cluster.database, None, **self._wanted())

    def uri_with(self, password: Secret) -> str:
        return uri(self.members, self.user, self.cluster.database, password, **self._wanted()).reveal()

    def _wanted(self) -> dict[str, str]:
        return {"target_session_attrs": "read-write"} if len(self.instances) > 1 else {}

    def password(self) -> Secret:
        """Raises: Ended, for a role whose password the panel does not know."""
        cluster = self.cluster
        known = {
            cluster.owner_role: cluster.owner_password,
            cluster.replication_role: cluster.replication_password,
            cluster.panel_role: cluster.panel_password,
            SUPERUSER: cluster.superuser_password,
        }
        known = {role: password for role, password in known.items() if password}  # an adopted cluster has kept its own to itself
        if self.user not in known:
            sentence = _("The panel does not know the password of %(user)s. It knows those of %(known)s.")
            raise Ended(Exit.WRONG_USE, sentence % {"user": self.user, "known": ", ".join(known) or _("nobody")})
        return known[self.user]

    def audit(self, action: str) -> None:
        who, target = actor(), self.instances[0].name if len(self.instances) == 1 else ""
        audit_append(
            actor=who.name, source=who.source, action=action, cluster_name=self.cluster.name, target=target, details={"role": self.user}
        )


def way_to(cluster: Cluster, instance: str, user: str) -> Way:
    """Raises: Ended, where there is no such instance."""
    rows = list(cluster.instances.select_related("server").order_by("role", "name"))
    chosen = [row for row in rows if instance in ("", row.name)]
    if not chosen:
        sentence = _("Cluster %(cluster)s has no instance %(instance)s. It has: %(names)s.")
        names = ", ".join(row.name for row in rows)
        raise Ended(Exit.WRONG_USE, sentence % {"cluster": cluster.name, "instance": instance, "names": names})
    return Way(cluster, chosen, user or cluster.owner_role)


def psql_run(way: Way, arguments: Sequence[str]) -> int:
    """psql of the first instance's programs, in the foreground; its exit code. The password is in a 0600 file that is gone afterwards."""
    program = Path(way.instances[0].bindir) / "psql"
    if not os.access(program, os.X_OK):
        sentence = _("%(program)s cannot be run on this machine.") % {"program": program}
        cure = _("Use your own psql with what “./pgreplica cluster dsn %(cluster)s --with-password” prints.") % {
            "cluster": way.cluster.name
        }
        raise Ended(Exit.FAILED, sentence, cure)
    password = way.password()
    way.audit("psql")
    with tempfile.TemporaryDirectory(prefix="pgreplica-") as directory:  # 0700
        passfile = Path(directory) / "passfile"
        lines = [pgpass_line(member.address, member.port, "*", way.user, password) for member in way.members]
        passfile.touch(mode=0o600)
        passfile.write_text("\n".join(lines) + "\n")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        argv = [str(program), "--dbname", way.uri, "--no-password", *arguments]
        return subprocess.run(argv, env=environment | {"PGPASSFILE": str(passfile)}, check=False).returncode
