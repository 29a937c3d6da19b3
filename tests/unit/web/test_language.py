"""Two languages, by what the browser asks for; and a catalogue that leaves nothing out."""

from __future__ import annotations

import re

import pytest
from django.utils import translation

from tasks.kinds import KINDS
from tasks.retold import catalogue, retold
from tasks.workflows import workflow_of
from tests.catalogue import PO, Word, compiled, po_read, po_written, translated, words_of_python, words_of_sources, words_of_template
from tests.factories import JobFactory, ServerFactory, StepFactory, VerificationFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, text_of

PORTUGUESE = {"headers": {"Accept-Language": "pt-BR,pt;q=0.9,en;q=0.5"}}
PLACES = re.compile(r"%%?(?:\(\w+\))?0?\d*[sd]|\{\w*\}|</?\w+[^>]*>")


def it_has_every_word_in_portuguese() -> None:
    """A word that is missing here: `python -m tests.catalogue`, then translate it in the .po file, then again."""
    known = po_read(PO.read_text())
    assert sorted(word.text for word in words_of_sources() if not all(known.get(word, [""]))) == []


def it_keeps_no_word_that_nobody_uses() -> None:
    assert sorted(word.text for word in po_read(PO.read_text()).keys() - words_of_sources().keys()) == []


def it_has_the_title_of_every_step_in_portuguese() -> None:
    with translation.override("pt-br"):
        titles = {step.title: translation.gettext(step.title) for kind in KINDS for step in workflow_of(kind).steps}
    assert [title for title, told in titles.items() if told == title] == []


def it_ships_the_compiled_form_of_what_is_written() -> None:
    known = po_read(PO.read_text())
    assert PO.with_suffix(".mo").read_bytes() == compiled(translated(known))
    assert {key for key in catalogue(PO.with_suffix(".mo")) if key} == {word.key for word in known}


def it_keeps_the_places_of_values_and_the_markup() -> None:
    wrong = []
    for word, texts in po_read(PO.read_text()).items():
        for text in texts:
            if sorted(PLACES.findall(text)) not in (sorted(PLACES.findall(word.text)), sorted(PLACES.findall(word.plural))):
                wrong.append(text)
    assert wrong == []


def it_reads_what_it_writes() -> None:
    words = {Word('say "hi"\nthere\\', "context", "many %(n)s"): "x.py", Word("plain"): "y.py"}
    translations = {word: [f"{word.text} 1", "2"] if word.plural else ["um"] for word in words}
    assert po_read(po_written(words, translations)) == translations


def it_finds_words_in_python_and_in_templates() -> None:
    assert list(words_of_python('x = _("a" "b"); y = ngettext("one", "many", n); z = pgettext("c", "d"); f(_(name))')) == [
        Word("ab"), Word("one", plural="many"), Word("d", "c"),
    ]  # fmt: skip
    template = '{% translate "it\'s" %}{% blocktranslate count n=1 trimmed %}\n one {{ n }}{% plural %}many {{ n }}{% endblocktranslate %}'
    assert list(words_of_template(template)) == [Word("it's"), Word("one %(n)s", plural="many %(n)s")]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "lang", "heading"), [("pt-BR", "pt-br", "Frota"), ("pt", "pt-br", "Frota"), ("en", "en", "Fleet"), ("fr", "en", "Fleet")]
)
def it_speaks_the_browsers_language_or_english(get: Get, asked: str, lang: str, heading: str) -> None:
    page = get("vera", "/admin/", headers={"Accept-Language": asked})
    assert f'<html lang="{lang}"' in page
    assert f"<h1>{heading}</h1>" in page


@pytest.mark.django_db
def it_leaves_no_english_word_of_its_own_on_a_page(get: Get) -> None:
    """Words of PostgreSQL, names, and what machines said stay as they are."""
    cluster = cluster_with_standbys("orders")
    VerificationFactory(pair=cluster.instances.get(name="orders-2").pair)
    job = JobFactory(kind="add_standby", status="running", cluster=cluster)
    StepFactory(job=job, title="Stop PostgreSQL")
    ServerFactory(name="alpha")
    english = re.compile(
        r"\b(the|of|and|cluster is|requested|ago|never|none|observed|standby|primary|running|steps|asked|reason)\b", re.IGNORECASE
    )
    for address in ("/admin/", "/clusters/orders/", f"/jobs/{job.pk}/", "/clusters/create/", "/servers/alpha/", "/admin/tasks/job/"):
        page = re.sub(r"<(script|code|template|title)\b.*?</\1>", " ", get("olga", address, **PORTUGUESE), flags=re.DOTALL)
        assert english.findall(text_of(page)) == [], address


@pytest.mark.django_db
def it_tells_step_titles_and_stored_findings_in_portuguese(get: Get) -> None:
    cluster = cluster_with_standbys("orders")
    finding = {
        "severity": "warns",
        "sentence": "node2 is 700 MB of WAL behind node1 (limit 64 MB).",
        "cure": "Bring the standby back soon, or remove it.",
    }
    VerificationFactory(pair=cluster.instances.get(name="orders-2").pair, verdict="warning", findings=[finding])
    words = text_of(get("vera", "/clusters/orders/", **PORTUGUESE))
    assert "node2 está 700 MB de WAL atrás de node1 (limite 64 MB)." in words
    assert "Traga a réplica de volta logo, ou remova-a." in words
    job = JobFactory(cluster=cluster)
    StepFactory(job=job, title="Stop PostgreSQL")
    assert "Parar o PostgreSQL" in text_of(get("vera", f"/jobs/{job.pk}/", **PORTUGUESE))


@pytest.mark.parametrize("sentence", ["", "Something that no rule says.", "%(standby)s", "100 % of it (limit"])
def it_leaves_what_it_does_not_know_as_it_is(sentence: str) -> None:
    with translation.override("pt-br"):
        assert retold(sentence) == sentence


def it_tells_nothing_anew_in_english() -> None:
    with translation.override("en"):
        assert retold("node2 is 700 MB of WAL behind node1 (limit 64 MB).") == "node2 is 700 MB of WAL behind node1 (limit 64 MB)."
