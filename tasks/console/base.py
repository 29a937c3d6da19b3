"""The commands' frame: verbs below a noun, who acts, and what each way to end means to a script."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, NoReturn

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError
from django.utils.translation import gettext as _

from tasks.actor import Actor, actor_system
from tasks.console.output import as_json, plain
from tasks.kinds import Status
from tasks.refusals import GENERAL, Busy, Refusal, RequestRefused


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    REFUSED = 3  # by an obstacle
    NEEDS_OPERATOR = 4


#: How a job's end is told to the shell.
EXIT_OF = {
    Status.DONE: Exit.DONE,
    Status.REFUSED: Exit.REFUSED,
    Status.NEEDS_OPERATOR: Exit.NEEDS_OPERATOR,
    Status.FAILED: Exit.FAILED,
    Status.CANCELED: Exit.FAILED,
}

Verb = Callable[[dict[str, Any]], None]


class Ended(Exception):
    """The command ends with this code and these sentences on stderr."""

    def __init__(self, code: Exit, *sentences: str) -> None:
        super().__init__(*sentences)
        self.code = code
        self.sentences = [sentence for sentence in sentences if sentence]


class VerbParser(CommandParser):
    """Leaves what follows `--` alone: it is for the program that the verb opens (`rest`)."""

    takes_rest = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        own = list(sys.argv[1:] if args is None else args)
        rest = own[own.index("--") + 1 :] if "--" in own else []
        if rest and not self.takes_rest:
            self.error("nothing may follow --")
        found, unknown = super().parse_known_args(own[: own.index("--")] if "--" in own else own, namespace)
        found.rest = rest
        return found, unknown


class NounCommand(BaseCommand):
    """`manage.py <noun> <verb> ...`. A verb is a method `verb_<name>` of the options, declared in `verbs`."""

    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        self.verbs(parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=VerbParser))

    def verbs(self, parsers: Any) -> None:
        raise NotImplementedError

    def verb(self, parsers: Any, name: str, help_text: str) -> Any:
        """The parser of one more verb; every verb knows --json."""
        parser = parsers.add_parser(name, help=help_text, description=help_text)
        parser.add_argument("--json", action="store_true", help="print JSON")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        run: Verb = getattr(self, f"verb_{options['verb'].replace('-', '_')}")
        try:
            run(options)
        except Ended as ended:
            self.end(ended.code, *ended.sentences)
        except Busy as busy:
            self.end(Exit.REFUSED, busy.sentence)
        except RequestRefused as refused:
            self.end(Exit.WRONG_USE, *field_sentences(refused.errors))
        except Refusal as refusal:
            self.end(Exit.FAILED, refusal.sentence)
        except ValidationError as error:
            self.end(Exit.WRONG_USE, *field_sentences(error.message_dict))
        except ObjectDoesNotExist as error:
            what = type(error).__qualname__.partition(".")[0].lower()
            self.end(Exit.WRONG_USE, _("There is no %(what)s of this name or number.") % {"what": what})
        except OperationalError:
            what = _("The panel's database does not answer. Is the panel running? (./pgreplica up)")
            self.end(Exit.FAILED, what, _("A job that was requested goes on when the panel is up again: ./pgreplica job list"))
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # whoever read us has gone; nothing may be written at exit either

    def end(self, code: int, *sentences: str) -> NoReturn:
        for sentence in sentences:
            self.stderr.write(plain(sentence))
        raise SystemExit(int(code))

    def say(self, options: Mapping[str, Any], value: Any, lines: Iterable[str]) -> None:
        """`value` with --json, else `lines`."""
        if options["json"]:
            self.stdout.write(as_json(value))
        else:
            for line in lines:
                self.stdout.write(line)


def field_sentences(errors: Mapping[str, list[str]]) -> list[str]:
    """Each refusal on a line of its own, with its field unless the sentence begins with it."""
    lines = []
    for field, sentences in errors.items():
        name = field.replace("_", " ")
        lines += [text if field == GENERAL or text.startswith(f"{name}:") else f"{name}: {text}" for text in sentences]
    return lines


def actor() -> Actor:
    """The system user who runs the command: they own the panel's files, so they have every right."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    return actor_system(name, "command")
