"""The production shape, read as files. tests/lab/stories/test_panel_story.py runs it in an engine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.signals import after_task_publish, heartbeat_sent

from pgreplica_admin import celery

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("migrate", "web", "worker", "beat", "monitor", "alerter")


def it_has_the_parts_of_the_panel() -> None:
    assert set(SERVICES) == {*OURS, "database", "broker"}


def it_runs_one_image_and_builds_it_once() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {"${PGREPLICA_IMAGE:-pgreplica-admin}"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["migrate"]


@pytest.mark.parametrize("name", SERVICES)
def it_gives_nobody_rights_that_are_not_needed(name: str) -> None:
    service = SERVICES[name]
    given = {key: service[key] for key in ("read_only", "cap_drop", "security_opt")}
    assert given == {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    assert name in OURS or service["user"] in ("postgres", "redis")
    assert "USER pgreplica" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def it_asks_everybody_how_they_are(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def it_gives_secrets_as_files_only() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            named = re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable)
            assert not named or variable.endswith("_FILE"), (name, variable)
            assert "@" not in str(value) or re.search(r"://[^:/]+@", str(value)), (name, variable)
            assert not named or Path(value).name in service["secrets"], (name, variable)
    assert [secret["file"] for secret in COMPOSE["secrets"].values()] == ["./secrets/database_password"]
    assert "secrets/" in (ROOT / ".gitignore").read_text()


def it_publishes_the_page_alone_and_on_loopback() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {"web": ["127.0.0.1:8080:8080"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {SERVICES[name]["networks"][0] for name in ("database", "broker")} == {"inside"}


@pytest.mark.parametrize("name", ["web", "worker", "beat", "monitor"])
def it_starts_after_the_migration(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "broker": {"condition": "service_healthy"},
    }
    assert list(SERVICES["alerter"]["depends_on"]) == ["migrate"], "it tells of a broker that is gone"


def it_declares_every_volume_and_network_it_names() -> None:
    named = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    networks = [network for service in SERVICES.values() for network in service["networks"]]
    assert set(named) == set(COMPOSE["volumes"])
    assert set(networks) == set(COMPOSE["networks"])


def it_copies_into_the_image_what_exists_and_every_package() -> None:
    text = (ROOT / "Dockerfile").read_text()
    sources = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert sources[:2] == ["requirements.txt", "pip.con[f]"], "the second one is there where somebody has put it, and only then"
    sources = [source for source in sources if source != "pip.con[f]"]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert [source for source in sources if not any(Path(source).match(pattern) for pattern in allowed)] == []
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(sources)


def it_runs_the_same_worker_as_the_launcher() -> None:
    """One worker for both shapes: threads, so that jobs may run in it for hours beside each other."""
    words = " ".join(SERVICES["worker"]["command"])
    assert words == "celery --quiet -A pgreplica_admin worker --pool threads --concurrency 8 --loglevel WARNING"


def it_is_alive_only_once_it_is_ready_and_says_so_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the health checks of worker and beat look at."""
    file = tmp_path / "alive"
    monkeypatch.setattr(celery, "READY_FILE", str(file))
    celery.say_alive()
    assert not file.exists()
    celery.say_ready()
    os.utime(file, (0, 0))
    after_task_publish.send(sender="tasks.sweep")
    after_task_publish.disconnect(celery.say_alive)
    assert file.stat().st_mtime > 0
    os.utime(file, (0, 0))
    heartbeat_sent.send(sender=None)
    assert file.stat().st_mtime > 0
