"""The words of the interface and their translation, without the gettext tools.

    python -m tests.catalogue        bring locale/pt_BR up to date: new words come in untranslated, unused ones go, the .mo is compiled

Words are what `gettext` and its kin are called with in Python, what the templates translate, the titles of workflow steps
(the first lines of docstrings), and what unfold and celery-beat say, for they bring no Portuguese of their own.
"""

from __future__ import annotations

import ast
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from django.utils.translation.template import templatize

from clusters.postgres.board import title_of
from clusters.postgres.rules import FAILOVER_RULES, PROMOTE_RULES, SWITCHOVER_RULES
from tasks.retold import catalogue

ROOT: Final = Path(__file__).resolve().parent.parent
PO: Final = ROOT / "locale" / "pt_BR" / "LC_MESSAGES" / "django.po"
PACKAGES: Final = ("clusters", "tasks", "pgreplica_admin")
#: Function -> what its leading arguments are.
CALLS: Final = {
    "_": "i", "gettext": "i", "gettext_lazy": "i", "gettext_noop": "i",
    "pgettext": "ci", "pgettext_lazy": "ci", "ngettext": "ip", "ngettext_lazy": "ip",
}  # fmt: skip
HEADER: Final = (
    "Project-Id-Version: pgreplica-admin\nLanguage: pt_BR\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
    "Content-Transfer-Encoding: 8bit\nPlural-Forms: nplurals=2; plural=(n > 1);\n"
)


@dataclass(frozen=True, order=True)
class Word:
    """One thing to translate."""

    text: str
    context: str = ""
    plural: str = ""

    @property
    def key(self) -> str:
        """As a .mo file has it."""
        text = f"{self.text}\0{self.plural}" if self.plural else self.text
        return f"{self.context}\4{text}" if self.context else text


# -- where words are


def words_of_sources() -> dict[Word, str]:
    """Every word, and the first place that uses it."""
    found: dict[Word, str] = {}
    for place, word in (*_of_packages(), *_of_templates(ROOT / "templates"), *_of_steps(), *_of_rules(), *_of_unfold(), *_of_beat()):
        found.setdefault(word, place)
    return found


def _of_packages() -> Iterator[tuple[str, Word]]:
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts):
        yield from ((str(path.relative_to(ROOT)), word) for word in words_of_python(path.read_text()))


def words_of_python(source: str) -> Iterator[Word]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (name := getattr(node.func, "id", getattr(node.func, "attr", ""))) in CALLS:
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
            if len(texts) >= len(CALLS[name]) and texts[0]:
                yield _word(CALLS[name], texts)


def _word(shape: str, texts: list[str]) -> Word:
    parts = dict(zip(shape, texts, strict=False))
    return Word(parts["i"], parts.get("c", ""), parts.get("p", ""))


def _of_templates(root: Path) -> Iterator[tuple[str, Word]]:
    for path in sorted(root.rglob("*.html")):
        place = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT / "templates") else "unfold"
        yield from ((place, word) for word in words_of_template(path.read_text()))


def words_of_template(source: str) -> Iterator[Word]:
    text = r"""(u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*")"""
    for name, first, second in re.findall(rf"\b(gettext|_|pgettext|ngettext)\(\s*{text}(?:\s*,\s*{text})?", templatize(source)):
        texts = [ast.literal_eval(part) for part in (first, second) if part]
        if texts[0]:
            yield _word(CALLS[name], texts)


def _of_steps() -> Iterator[tuple[str, Word]]:
    from tasks.kinds import KINDS  # needs Django's settings, which the other readers do not
    from tasks.workflows import workflow_of

    for kind in KINDS.values():
        yield from ((kind.workflow.rpartition(".")[0].replace(".", "/") + ".py", Word(step.title)) for step in workflow_of(kind.name).steps)


def _of_rules() -> Iterator[tuple[str, Word]]:
    """What should hold before a promotion: the rules' titles, as the eligibility board shows them."""
    rules = (*SWITCHOVER_RULES, *FAILOVER_RULES, *PROMOTE_RULES)
    yield from ((f"{rule.__module__.replace('.', '/')}.py", Word(title_of(rule))) for rule in rules)


def _of_unfold() -> Iterator[tuple[str, Word]]:
    """What Django's own catalogue does not have."""
    root = Path(str(find_spec("unfold").origin)).parent  # type: ignore[union-attr]
    known = catalogue(root.parent / "django/contrib/admin/locale/pt_BR/LC_MESSAGES/django.mo").keys()
    known |= catalogue(root.parent / "django/contrib/auth/locale/pt_BR/LC_MESSAGES/django.mo").keys()
    known |= catalogue(root.parent / "django/conf/locale/pt_BR/LC_MESSAGES/django.mo").keys()
    found = [word for _place, word in _of_templates(root / "templates")]
    found += [word for path in sorted(root.rglob("*.py")) if "contrib" not in path.parts for word in words_of_python(path.read_text())]
    found += [word for _place, word in _of_templates(root / "contrib/filters/templates")]
    found += [word for path in sorted((root / "contrib/filters").rglob("*.py")) for word in words_of_python(path.read_text())]
    yield from (("unfold", word) for word in found if word.key not in known)


def _of_beat() -> Iterator[tuple[str, Word]]:
    """The names of what the admin shows of celery-beat."""
    shown = ("periodic task", "periodic tasks", "Name", "Task Name", "Enabled", "Total Run Count", "Description", "interval", "intervals")
    yield from (("django_celery_beat", Word(text)) for text in (*shown, "crontab", "crontabs", "Periodic Tasks"))


# -- .mo and .po files


def compiled(translated: dict[str, str]) -> bytes:
    """A .mo file: header and texts sorted by key, as the GNU gettext manual describes it ("The Format of GNU MO Files")."""
    pairs = sorted({"": HEADER, **translated}.items(), key=lambda pair: pair[0].encode())
    first = 28 + 16 * len(pairs)
    tables: tuple[list[bytes], list[bytes]] = ([], [])
    blob = b""
    for column, table in enumerate(tables):
        for pair in pairs:
            text = pair[column].encode()
            table.append(struct.pack("<2I", len(text), first + len(blob)))
            blob += text + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, first)
    return head + b"".join(tables[0]) + b"".join(tables[1]) + blob


def po_read(text: str) -> dict[Word, list[str]]:
    """Word -> its translations (one, or one a plural form; empty where there is none yet)."""
    found: dict[Word, list[str]] = {}
    for entry in re.split(r"\n\s*\n", text):
        parts: dict[str, str] = {}
        for name, quoted in re.findall(r'^(msg\w+(?:\[\d\])?)((?:\s*"(?:[^"\\]|\\.)*"\n?)+)', entry, re.MULTILINE):
            parts[name] = "".join(ast.literal_eval(line) for line in re.findall(r'"(?:[^"\\]|\\.)*"', quoted))
        if parts.get("msgid"):
            word = Word(parts["msgid"], parts.get("msgctxt", ""), parts.get("msgid_plural", ""))
            found[word] = [parts[name] for name in sorted(parts) if name.startswith("msgstr")]
    return found


def po_written(words: dict[Word, str], translations: dict[Word, list[str]]) -> str:
    """The .po file: words by the place that uses them first."""
    entries = [f'msgid ""\nmsgstr {_quoted(HEADER)}']
    for word, place in sorted(words.items(), key=lambda item: (item[1], item[0])):
        given = translations.get(word, ["", ""] if word.plural else [""])
        lines = [f"#: {place}"] + ([f"msgctxt {_quoted(word.context)}"] if word.context else []) + [f"msgid {_quoted(word.text)}"]
        if word.plural:
            lines += [f"msgid_plural {_quoted(word.plural)}"] + [f"msgstr[{n}] {_quoted(text)}" for n, text in enumerate(given)]
        else:
            lines.append(f"msgstr {_quoted(given[0])}")
        entries.append("\n".join(lines))
    return "\n\n".join(entries) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    lines = escaped.split("\n")
    return (
        f'"{escaped}"'
        if len(lines) == 1
        else "\n".join(['""', *(f'"{line}\\n"' for line in lines[:-1]), *([f'"{lines[-1]}"'] if lines[-1] else [])])
    )


def translated(translations: dict[Word, list[str]]) -> dict[str, str]:
    return {word.key: "\0".join(texts) for word, texts in translations.items() if all(texts)}


def main() -> None:
    words = words_of_sources()
    translations = po_read(PO.read_text()) if PO.exists() else {}
    kept = {word: texts for word, texts in translations.items() if word in words}
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_text(po_written(words, kept))
    PO.with_suffix(".mo").write_bytes(compiled(translated(kept)))
    missing = sorted(word.text for word in words if not all(kept.get(word, [""])))
    sys.stdout.write("\n".join([f"{len(words)} words, {len(missing)} without a translation:", *missing]) + "\n")


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgreplica_admin.settings")
    django.setup()
    main()
