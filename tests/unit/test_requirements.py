from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("requirements.txt", "requirements-embedded.txt", "requirements-dev.txt", "requirements-install.txt")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize(("smaller", "larger"), [NAMES[:2], NAMES[1:3]])
def it_pins_the_same_versions_in_the_larger_list(smaller: str, larger: str) -> None:
    """`./pgreplica` takes what it installed for the tests as good for running, too."""
    assert pins(smaller).items() <= pins(larger).items()


@pytest.mark.parametrize("name", [*NAMES, "requirements-lab.txt"])
def it_locks_every_package_by_hash(name: str) -> None:
    text = (ROOT / name).read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert pins(name)
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
