"""compose.yml and .env of an instance that runs in a container, as a person would write them."""

from __future__ import annotations

from typing import Final

from clusters.postgres.containers import LABEL, container_of
from clusters.postgres.files import File
from clusters.postgres.names import SUPERUSER
from clusters.postgres.spec import InstanceSpec

#: `$$` is Compose's way to write a `$` that the shell in the container is to see.
_COMPOSE: Final = """\
# PostgreSQL instance {name} of the cluster {cluster}, written by pgreplica-admin. Nothing here needs the panel. By hand:
#   docker compose up -d      docker compose logs -f      docker compose stop
# The values are in .env; passwords are in secrets/, which only PostgreSQL's user can read.
name: {container}
services:
  postgres:
    container_name: {container}
    image: ${{POSTGRES_IMAGE}}
    restart: unless-stopped
    user: ${{POSTGRES_UID_GID}}
    # The start guard keeps an old primary from coming back writable; it hands over to the image's own entrypoint.
    entrypoint: ["/guard/entrypoint"]
    command: ["postgres", "-c", "config_file=/etc/postgresql/postgresql.conf"]
    stop_signal: SIGINT  # a fast shutdown: sessions end, everything is on disk
    stop_grace_period: 5m  # never killed while it writes its last checkpoint
    shm_size: ${{POSTGRES_SHM_SIZE}}  # parallel queries need it
    environment:
      PGDATA: {data}
    ports:
      - "${{POSTGRES_ADDRESS}}:${{POSTGRES_PORT}}:${{POSTGRES_PORT}}"
    # Directories, never single files: a file that is replaced would not be seen in the container. One that is missing is an error.
    volumes:
      - {{type: bind, source: ./volumes/postgres{volume_part}, target: {volume}, bind: {{create_host_path: false}}}}
      - {{type: bind, source: ./conf, target: /etc/postgresql, read_only: true, bind: {{create_host_path: false}}}}
      - {{type: bind, source: ./secrets, target: /run/secrets, read_only: true, bind: {{create_host_path: false}}}}
      - {{type: bind, source: ./guard, target: /guard, read_only: true, bind: {{create_host_path: false}}}}
      - {{type: bind, source: ./state, target: /state, bind: {{create_host_path: false}}}}
      # So that the user has a name in the container.
      - {{type: bind, source: /etc/passwd, target: /etc/passwd, read_only: true}}
    healthcheck:
      # A query, not pg_isready, which is content with a database that is not there.
      test: ["CMD", "psql", "host=/var/run/postgresql port={port} user={superuser} passfile={passfile}", "-c", "select 1"]
      interval: 10s
      timeout: 5s
      retries: 3
      start_period: 1m
    logging:
      driver: json-file
      options: {{max-size: 10m, max-file: "5"}}
    labels:
      {label}: instance
"""


def compose_files(spec: InstanceSpec) -> list[File]:
    """What Compose reads; none where the instance runs without a container."""
    return [render_env(spec), render_compose(spec)] if spec.container else []


def render_compose(spec: InstanceSpec) -> File:
    """compose.yml; every value in it is a checked name or number."""
    container = container_of(spec)
    data = spec.seen(spec.data_directory)
    moved = spec.major >= 18  # its image declares the directory above as the volume
    text = _COMPOSE.format(
        name=spec.name,
        cluster=spec.cluster,
        container=container.name,
        data=data,
        volume_part="" if moved else "/data",
        volume=data.rpartition("/")[0] if moved else data,
        port=spec.port,
        superuser=SUPERUSER,
        passfile=spec.seen(spec.superuser_passfile),
        label=LABEL,
    )
    if container.network:
        text += f"networks:\n  default:\n    name: {container.network}\n    external: true\n"
    return File(spec.compose_file, text, 0o600)


def render_env(spec: InstanceSpec) -> File:
    """.env: what differs from one instance to the next, nothing secret."""
    container = container_of(spec)
    address = f"[{spec.address}]" if ":" in spec.address else spec.address
    values = {
        "POSTGRES_IMAGE": container.image,
        "POSTGRES_UID_GID": container.user,
        "POSTGRES_ADDRESS": address,
        "POSTGRES_PORT": spec.port,
        "POSTGRES_SHM_SIZE": container.shm_size,
    }
    lines = [
        f"# Values of compose.yml for {spec.name} of the cluster {spec.cluster}.",
        *(f"{name}={value}" for name, value in values.items()),
    ]
    return File(spec.env_file, "\n".join(lines) + "\n", 0o600)
