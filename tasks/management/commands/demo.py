from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from clusters.models import Cluster
from tasks.console.requests import RequestCommand
from tasks.first_start import CLUSTER


class Command(RequestCommand):
    help = "demo remove: stop and remove the demo cluster of the first start."

    def verbs(self, parsers: Any) -> None:
        self.verb(parsers, "remove", "Stop the demo cluster and put its files into quarantine; waits for the end.")

    def verb_remove(self, options: dict[str, Any]) -> None:
        if not Cluster.objects.filter(name=CLUSTER).exists():
            self.say(options, {"removed": False}, [_("There is no demo cluster; nothing is to be removed.")])
            return
        asked = options | {"reason": "demo remove", "wait": True, "plan": False, "runbook": False, "yes": True, "idempotency_key": None}
        self.request(asked, "remove_cluster", {"cluster": CLUSTER}, target=CLUSTER)
