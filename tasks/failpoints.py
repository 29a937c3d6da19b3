"""Places where a test can make the worker die or freeze, exactly there: `PGREPLICA_FAILPOINT="<step>:<where>[:STOP]"`.

where: before (the step is persisted as running, nothing is done), inside (after its first mutating command), after (all is
done, nothing of it persisted). For an undo the name is `undo.<step>`. The signal is KILL, or STOP to act out a frozen worker.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "PGREPLICA_FAILPOINT"


def failpoint(name: str, where: str) -> None:
    wanted = os.environ.get(VARIABLE)
    if wanted == f"{name}:{where}":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == f"{name}:{where}:STOP":
        del os.environ[VARIABLE]  # once: after SIGCONT the worker goes on
        os.kill(os.getpid(), signal.SIGSTOP)
