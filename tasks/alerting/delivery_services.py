"""Which of Apprise's services a channel may use, and how one message is handed to it (`delivery_process`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.secrets import Secret
from tasks.alerting import delivery_process
from tasks.alerting.messages import Message

SECONDS: Final = 20.0
#: Scheme -> what it is. Nothing here runs a program, writes a file, or speaks to this machine's desktop or log.
SERVICES: Final[dict[str, str | Promise]] = {
    "mailtos": gettext_lazy("mail"), "mailto": gettext_lazy("mail, unencrypted unless the service is known"),
    "jsons": gettext_lazy("webhook (JSON)"), "json": gettext_lazy("webhook (JSON), unencrypted"),
    "forms": gettext_lazy("webhook (form)"), "form": gettext_lazy("webhook (form), unencrypted"),
    "xmls": gettext_lazy("webhook (XML)"), "xml": gettext_lazy("webhook (XML), unencrypted"),
    "slack": "Slack", "discord": "Discord", "workflows": "Microsoft Teams", "gchat": "Google Chat", "webex": "Webex", "zulip": "Zulip",
    "mmosts": "Mattermost", "mmost": gettext_lazy("Mattermost, unencrypted"),
    "rockets": "Rocket.Chat", "rocket": gettext_lazy("Rocket.Chat, unencrypted"),
    "matrixs": "Matrix", "matrix": gettext_lazy("Matrix, unencrypted"),
    "tgram": "Telegram", "signals": "Signal", "signal": gettext_lazy("Signal, unencrypted"),
    "ntfys": "ntfy", "ntfy": gettext_lazy("ntfy, unencrypted"), "gotifys": "Gotify", "gotify": gettext_lazy("Gotify, unencrypted"),
    "pagerduty": "PagerDuty", "opsgenie": "Opsgenie", "pover": "Pushover", "pbul": "Pushbullet", "twilio": "Twilio",
}  # fmt: skip
INSECURE: Final = ("mailto", "json", "form", "xml", "mmost", "rocket", "matrix", "signal", "ntfy", "gotify")


@dataclass(frozen=True)
class Answer:
    """`failure`: why it could not be, as a sentence without any part of the address; "" where it went well."""

    service: str
    failure: str


def address_check(address: Secret) -> Answer:
    """Whether Apprise understands the address, and a channel may use its service. Nothing is sent, nobody is asked."""
    return _asked(address, act="check")


def deliver(address: Secret, message: Message) -> Answer:
    """Send one message, within `SECONDS`. What a killed process leaves open is not known: it counts as a failure, and is tried again."""
    return _asked(address, act="send", **message._asdict())


def _asked(address: Secret, **more: Any) -> Answer:
    text = address.reveal()
    asked = {"address": text, "services": list(SERVICES), "insecure": INSECURE, "networks": settings.ALERT_NETWORKS, **more}
    scheme = text.partition("://")[0].lower()
    service = scheme if scheme in SERVICES else ""
    with tempfile.TemporaryDirectory(prefix="pgreplica-alert-") as home:
        environment = {
            "HOME": home,
            "LANG": "C.UTF-8",
            **{name: os.environ[name] for name in delivery_process.CERTIFICATES if name in os.environ},
        }
        argv = [sys.executable, "-I", str(Path(delivery_process.__file__))]
        try:
            ended = subprocess.run(  # our own file; the address is on stdin
                argv, input=json.dumps(asked), capture_output=True, text=True, timeout=SECONDS, env=environment, cwd=home, check=False
            )
        except subprocess.TimeoutExpired:
            return Answer(service, _("There was no answer within %(seconds)d seconds.") % {"seconds": SECONDS})
    if ended.returncode:
        detail = delivery_process.masked(ended.stderr.strip().rpartition("\n")[2], text)
        return Answer(service, _("The process that sends has failed: %(detail)s") % {"detail": detail})
    said = json.loads(ended.stdout)
    return Answer(service, _sentence(said["problem"], said["detail"]))


def _sentence(problem: str, detail: str) -> str:
    sentences = {
        "": "",
        "not_understood": _("This is no address that Apprise understands. See the examples in the documentation."),
        "service_unknown": _("This service is not among those that a channel may use. See the documentation for the list."),
        "insecure_mode": _("This would send unencrypted. Leave mode=insecure out, or write mailto for a server in an allowed network."),
        "reads_files": _("%(detail)s in an address names a file or a page to be read. Leave it out."),
        "certificates": _("Certificates must be checked: leave verify=no out."),
        "address_refused": _("%(detail)s is not in the public Internet. If it is meant, let PGREPLICA_ALERT_NETWORKS name its network."),
        "insecure_address": _(
            "%(detail)s would be sent to unencrypted. Use the encrypted form, or let PGREPLICA_ALERT_NETWORKS name its network."
        ),
        "failed": _("The service did not take it: %(detail)s"),
    }
    sentence = sentences[problem]
    return sentence % {"detail": detail} if "%(" in sentence else sentence
