"""Names, and how each sink quotes them."""

from __future__ import annotations

from typing import Final

#: Clusters, instances and servers: safe in a path, in application_name, in a slot name (with - as _) and as a container name.
OBJECT_NAME: Final = r"^[a-z][a-z0-9-]{0,39}[a-z0-9]$"

#: Socket paths end at 107 bytes (Linux, sockaddr_un); `<base>/.run/<port>/.s.PGSQL.<port>` must fit.
BASE_DIRECTORY_BYTES: Final = 75
