from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from tasks.console.base import NounCommand, actor
from tasks.console.output import table
from tasks.models import ApiToken
from tasks.shown import token_list
from tasks.tokens import token_create, token_revoke


class Command(NounCommand):
    help = "Bearer tokens of the API: create, list, revoke."

    def verbs(self, parsers: Any) -> None:
        create = self._of(self.verb(parsers, "create", "Make a token; it is printed this once."))
        create.add_argument("--scope", default="read", help="read, or operate (what the user may do)")
        create.add_argument("--days", type=int, default=90, help="how long it lasts (default: %(default)s)")
        self.verb(parsers, "list", "All tokens, without their texts.")
        self._of(self.verb(parsers, "revoke", "Make a token unknown from now on."))

    def _of(self, parser: Any) -> Any:
        parser.add_argument("name", help="what uses it")
        parser.add_argument("--user", required=True, help="whose token it is: it can do no more than this user")
        return parser

    def verb_create(self, options: dict[str, Any]) -> None:
        user = User.objects.get(username=options["user"])
        row, text = token_create(actor=actor(), user=user, name=options["name"], scope=options["scope"], days=options["days"])
        value = {"token": text.reveal(), "name": row.name, "user": user.get_username(), "scope": row.scope, "expires_at": row.expires_at}
        self.say(options, value, [text.reveal()])
        if not options["json"]:
            self.stderr.write(_("Keep it now: it is not shown again. It expires on %(day)s.") % {"day": row.expires_at.date()})

    def verb_list(self, options: dict[str, Any]) -> None:
        tokens = token_list()
        self.say(options, tokens, table(tokens, ("user", "name", "prefix", "scope", "expires_at", "last_used_at")))

    def verb_revoke(self, options: dict[str, Any]) -> None:
        token = ApiToken.objects.select_related("user").get(user__username=options["user"], name=options["name"])
        token_revoke(actor=actor(), token=token)
        value = {"token": token.name, "user": options["user"]}
        self.say(options, value, [_("Token %(token)s of %(user)s is revoked.") % value])
