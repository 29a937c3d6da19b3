from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from tasks.alerting import changes, channels
from tasks.alerting.selectors import alerts_past, alerts_shown, rules_shown, silence_shown, silences_shown
from tasks.console.base import NounCommand, actor
from tasks.console.output import table
from tasks.models import Silence

ALERTS = ("id", "severity", "cluster", "instance", "condition", "began_at", "ended_at", "sentence")
SILENCES = ("id", "cluster", "condition", "starts_at", "ends_at", "weekly", "reason")
RULES = ("condition", "enabled", "severity", "hold_seconds", "threshold", "unit", "changed")
CHANNELS = ("name", "service", "enabled", "least", "clusters", "remind_minutes", "delivered_at", "failure")
CHANNEL_OPTIONS = ("enabled", "least", "clusters", "language", "remind_minutes")


class Command(NounCommand):
    help = (
        "Alerts: list, silence, silences, unsilence, rules, rule, channels, channel-add, channel-change, channel-test, channel-remove. "
        "An address is read from standard input, never from the command line."
    )

    def verbs(self, parsers: Any) -> None:
        listed = self.verb(parsers, "list", "Open alerts, the newest first.")
        listed.add_argument("--cluster", default="")
        listed.add_argument("--severity", default="", choices=["warning", "critical"])
        listed.add_argument("--all", action="store_true", help="also those that are over")
        listed.add_argument("--limit", type=int, default=50)
        silence = self.verb(parsers, "silence", "Keep alerts quiet; they are raised and shown all the same.")
        silence.add_argument("--cluster", help="this one (default: all)")
        silence.add_argument("--condition", help="this one (default: every one); see: alert rules")
        silence.add_argument("--from", dest="starts_at", metavar="TIME", help="from then on, as 2026-12-01T03:00+01:00 (default: now)")
        silence.add_argument("--for", dest="lasts", default="1h", help="how long: 30m, 2h, 1d, 1w (default: %(default)s)")
        silence.add_argument("--weekly", action="store_const", const="yes", help="every week: a maintenance window")
        silence.add_argument("--reason", required=True)
        self.verb(parsers, "silences", "Those that are or will be in force.")
        self.verb(parsers, "unsilence", "End a silence.").add_argument("id", type=int)
        self.verb(parsers, "rules", "Every condition, and how strict it is.")
        rule = self.verb(parsers, "rule", "Change how strict a condition is.")
        rule.add_argument("condition")
        rule.add_argument("--enabled", metavar="YES|NO")
        rule.add_argument("--severity", help="warning or critical")
        rule.add_argument("--hold-seconds", help="how long it must last before somebody is told")
        rule.add_argument("--threshold")
        rule.add_argument("--reset", action="store_true", help="as it comes")
        self._channel_verbs(parsers)

    def _channel_verbs(self, parsers: Any) -> None:
        self.verb(parsers, "channels", "Where notifications go, and how the last delivery went.")
        for name, help_text in (
            ("channel-add", "Make a channel; its Apprise address is read from standard input."),
            ("channel-change", "Change a channel."),
        ):
            parser = self.verb(parsers, name, help_text)
            parser.add_argument("name")
            parser.add_argument("--enabled", metavar="YES|NO")
            parser.add_argument("--least", help="from this severity on: warning or critical")
            parser.add_argument("--cluster", dest="clusters", action="append", help="only this one; several may be given")
            parser.add_argument("--language", help="en or pt-br")
            parser.add_argument("--remind-minutes", help="0: never")
            if name == "channel-change":
                parser.add_argument("--address", action="store_true", help="read a new address from standard input")
        self.verb(parsers, "channel-test", "Ask for a test message.").add_argument("name")
        self.verb(parsers, "channel-remove", "Remove a channel.").add_argument("name")

    def verb_list(self, options: dict[str, Any]) -> None:
        rows = alerts_past(cluster=options["cluster"], severity=options["severity"])
        shown = alerts_shown(list((rows if options["all"] else rows.filter(ended_at=None))[: max(1, options["limit"])]))
        self.say(options, shown, table(shown, ALERTS))

    def verb_silence(self, options: dict[str, Any]) -> None:
        data = _given(options, "cluster", "condition", "starts_at", "lasts", "weekly", "reason")
        shown = silence_shown(changes.silence_make(actor=actor(), data=data))
        self.say(options, shown, table([shown], SILENCES))

    def verb_silences(self, options: dict[str, Any]) -> None:
        shown = silences_shown()
        self.say(options, shown, table(shown, SILENCES))

    def verb_unsilence(self, options: dict[str, Any]) -> None:
        changes.silence_end(actor=actor(), silence=Silence.objects.select_related("cluster").get(pk=options["id"]))
        self.say(options, {"id": options["id"]}, [_("Silence %(number)s is over.") % {"number": options["id"]}])

    def verb_rules(self, options: dict[str, Any]) -> None:
        shown = rules_shown()
        self.say(options, shown, table(shown, RULES))

    def verb_rule(self, options: dict[str, Any]) -> None:
        name = options["condition"]
        if options["reset"]:
            changes.rule_reset(actor=actor(), name=name)
        else:
            changes.rule_change(actor=actor(), name=name, data=_given(options, "enabled", "severity", "hold_seconds", "threshold"))
        shown = next(rule for rule in rules_shown() if rule["condition"] == name)
        self.say(options, shown, table([shown], RULES))

    def verb_channels(self, options: dict[str, Any]) -> None:
        shown = channels.channels_shown()
        self.say(options, shown, table(shown, CHANNELS))

    def verb_channel_add(self, options: dict[str, Any]) -> None:
        data = {"name": options["name"], "address": _address(), **_given(options, *CHANNEL_OPTIONS)}
        self._channel(options, channels.channel_add(actor=actor(), data=data).name)

    def verb_channel_change(self, options: dict[str, Any]) -> None:
        data = _given(options, *CHANNEL_OPTIONS) | ({"address": _address()} if options["address"] else {})
        channels.channel_change(actor=actor(), channel=channels.channel_get(options["name"]), data=data)
        self._channel(options, options["name"])

    def verb_channel_test(self, options: dict[str, Any]) -> None:
        channels.channel_test(actor=actor(), channel=channels.channel_get(options["name"]))
        line = _("A test is on its way; “alert channels” says within seconds how it went.")
        self.say(options, channels.channel_shown(options["name"]), [line])

    def verb_channel_remove(self, options: dict[str, Any]) -> None:
        channels.channel_remove(actor=actor(), channel=channels.channel_get(options["name"]))
        self.say(options, {"name": options["name"]}, [_("The channel %(name)s is removed.") % {"name": options["name"]}])

    def _channel(self, options: dict[str, Any], name: str) -> None:
        shown = channels.channel_shown(name)
        self.say(options, shown, table([shown], CHANNELS))


def _given(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What was given; the rest is left to the form."""
    return {name: options[name] for name in names if options[name] is not None}


def _address() -> str:
    """From a person without showing it, or from a pipe: never an argument, which others see in the process list."""
    return getpass.getpass(_("Address: ")) if sys.stdin.isatty() else sys.stdin.readline().strip()
