"""Fault 37 (safety.md section 2): one image sorts text with another C library than the other."""

from __future__ import annotations

import pytest

from tests.lab.server import LabServer
from tests.lab.stories.invariants import assert_invariants
from tests.lab.stories.stage import LabStage
from tests.stage import log_of

pytestmark = pytest.mark.needs("lab")

#: Stands in for the image made with Alpine, which cannot be had without a registry: the Debian one, with what musl's programs answer.
ALPINE = "postgres:16-alpine"
LIKE_MUSL = """\
printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/getconf
printf '#!/bin/sh\\necho "musl libc (x86_64)" >&2\\nexit 1\\n' >/usr/bin/ldd
chmod 755 /usr/bin/getconf /usr/bin/ldd
"""


def musl_like(server: LabServer) -> None:
    server.docker("run", "--name", "like-musl", "--entrypoint", "sh", "postgres:16", "-c", LIKE_MUSL)
    changes = ["--change", 'ENTRYPOINT ["docker-entrypoint.sh"]', "--change", 'CMD ["postgres"]']
    server.docker("commit", *changes, "like-musl", ALPINE)
    server.docker("rm", "like-musl")


def test_37_an_image_with_another_c_library_is_not_cloned_to(lab_stage: LabStage) -> None:
    beta = lab_stage.lab["beta"]
    lab_stage.create()
    musl_like(beta)
    try:
        job = lab_stage.run("add_standby", cluster="orders", server="beta", image=ALPINE)
        assert job.status == "refused", log_of(job)
        found = next(one for one in job.result["obstacles"] if one["name"] == "libc_differs")
        assert (found["severity"], found["value"], found["threshold"].split()[0]) == ("blocks", "musl", "glibc")
        assert lab_stage.slots("node1") == set()
    finally:
        beta.docker("rmi", ALPINE)
    lab_stage.standby(server="beta")
    assert_invariants(lab_stage)
