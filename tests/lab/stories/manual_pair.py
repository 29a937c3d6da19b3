"""The pair that the users' manual has people make by hand, with its mistakes, on two servers of the lab.

Its files are the manual's own, but for the image (`postgres:16`, the stand-in). Where a step cannot work as it is written, this does
the least that an administrator must do to get going; each such place says so.
"""

from __future__ import annotations

from typing import Final

from tests.lab.server import LabServer
from tests.waiting import wait_until

PLACE: Final = "/srv/postgres"
PRIMARY, STANDBY = "postgres-postgres-1", "postgres"
SUPERUSER_PASSWORD, REPLICATION_PASSWORD = "example-Zq7", "senha_replicacao-Zq7"
IMAGE: Final = "postgres:16"

PRIMARY_COMPOSE: Final = f"""
networks:
  postgres:
    external: true
    name: postgres
  reverse-proxy:
    external: true
    name: reverse-proxy

services:
  postgres:
    ports:
      - 5432:5432
    container_name: {PRIMARY}
    image: {IMAGE}
    restart: always
    volumes:
      - ./volumes/postgres/data:/var/lib/postgresql/data
      - ./.docker/postgres/init-user-db.sh:/docker-entrypoint-initdb.d/init-user-db.sh
      - ./postgresql.conf:/var/lib/postgresql/postgresql.conf:rw
      - ./pg_hba.conf:/var/lib/postgresql/data/pg_hba.conf:rw
    networks:
      - postgres
    environment:
      - POSTGRES_PASSWORD
      - POSTGRES_DB
      - POSTGRES_USER
      - TZ
      - POSTGRES_REPLICATION_USER
      - POSTGRES_REPLICATION_PASSWORD
"""
INIT: Final = """#!/bin/bash
set -e

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<-EOSQL
    CREATE USER $POSTGRES_REPLICATION_USER WITH REPLICATION ENCRYPTED PASSWORD '$POSTGRES_REPLICATION_PASSWORD';
    SELECT pg_create_physical_replication_slot('replication_slot');
EOSQL
"""
PRIMARY_ENV: Final = f"""
POSTGRES_USER=postgres #Nome do usuário do postgres
POSTGRES_PASSWORD={SUPERUSER_PASSWORD} #Senha do usuário - Alterar
POSTGRES_DB=postgres #Nome do banco de dados

POSTGRES_REPLICATION_USER=usuario_replicacao #Nome do usuário de replicação
POSTGRES_REPLICATION_PASSWORD={REPLICATION_PASSWORD} #Senha do usuário de replicação
TZ=America/Sao_Paulo
"""
POSTGRESQL_CONF: Final = """
# Configurações básicas do Postgres
listen_addresses = '*'
max_connections = 100
shared_buffers = 128MB
dynamic_shared_memory_type = posix

# Configurações de Write-Ahead Log (WAL) e Réplica
wal_level = replica
max_wal_senders = 10
wal_keep_size = 1GB
max_replication_slots = 10

# Outras configurações importantes
checkpoint_timeout = 5min
max_wal_size = 1GB
min_wal_size = 80MB
"""
#: The last line is not the manual's: without it no standby is let in, since `all` does not match replication.
PG_HBA: Final = """
# TYPE  DATABASE        USER                    ADDRESS                        METHOD
local   all             all                                                    trust
host    all             all                     127.0.0.1/32                   trust
host    all             all                     172.0.0.0/8                    trust
host    all             usuario_replicacao      {standby}/32      md5
host    replication     usuario_replicacao      {standby}/32      md5
"""
STANDBY_ENV: Final = """
POSTGRES_PASSWORD={superuser} #Senha do banco atual
POSTGRES_PRIMARY_HOST={primary} #Endereço IP ou DNS do servidor primário
POSTGRES_PRIMARY_PORT=5432
POSTGRES_REPLICATION_USER=usuario_replicacao #Nome do usuário de replicação
POSTGRES_REPLICATION_PASSWORD={replication} # Senha do usuário de replicação
"""
STANDBY_COMPOSE: Final = f"""
networks:
  postgres:
    external: true
    name: postgres

services:
  postgres:
    container_name: {STANDBY}
    image: {IMAGE}
    restart: always
    volumes:
      - ./volumes/postgres/data:/var/lib/postgresql/data
      - ./volumes/postgresql.conf:/etc/postgresql/postgresql.conf
      - ./pg_hba.conf:/var/lib/postgresql/data/pg_hba.conf
    networks:
      - postgres
    environment:
      - POSTGRES_PASSWORD
      - POSTGRES_REPLICATION_USER
      - POSTGRES_REPLICATION_PASSWORD
      - POSTGRES_PRIMARY_HOST
      - POSTGRES_PRIMARY_PORT
    ports:
      - "5432:5432"
"""
#: `docker run` of the time does not take a relative path, and .env is the compose file's alone: both are said to the shell here.
COPY: Final = """
set -a; POSTGRES_PRIMARY_HOST={primary} POSTGRES_PRIMARY_PORT=5432 POSTGRES_REPLICATION_USER=usuario_replicacao
POSTGRES_REPLICATION_PASSWORD={replication}; set +a
rm -rf ./volumes/postgres/data/*
docker run --rm -v $PWD/volumes/postgres/data:/var/lib/postgresql/data {image} \\
  bash -c "PGPASSWORD=$POSTGRES_REPLICATION_PASSWORD pg_basebackup -h $POSTGRES_PRIMARY_HOST -p $POSTGRES_PRIMARY_PORT \\
    -U $POSTGRES_REPLICATION_USER -D /var/lib/postgresql/data -P -R -v --wal-method=stream"
"""


def made_by_hand(primary: LabServer, standby: LabServer) -> None:
    """The manual, from "Configurações do Servidor Primário" to "Verificar a replicação"."""
    _make_primary(primary, standby)
    _make_standby(primary, standby)
    wait_until(lambda: "streaming" in ask(primary, PRIMARY, "SELECT state FROM pg_stat_replication"), "the manual's standby streams", 60)


def ask(server: LabServer, container: str, question: str) -> str:
    """As the manual asks: psql in the container."""
    return server.docker("exec", container, "psql", "-U", "postgres", "-Atc", question, check=False).stdout.strip()


def _make_primary(primary: LabServer, standby: LabServer) -> None:
    put(primary, "docker-compose.yml", PRIMARY_COMPOSE)
    put(primary, "init-replication-user.sh", INIT)
    put(primary, ".env", PRIMARY_ENV)
    put(primary, "postgresql.conf", POSTGRESQL_CONF)
    primary.docker("network", "create", "postgres")
    # With pg_hba.conf mounted into the empty data directory initdb refuses, and the missing init script ends the first start:
    # so the first start is made without the two, as people do who got that far.
    first = "".join(line for line in PRIMARY_COMPOSE.splitlines(keepends=True) if "pg_hba.conf" not in line and "initdb.d" not in line)
    put(primary, "docker-compose.yml", first)
    compose(primary)
    wait_until(lambda: _serves(primary), "the manual's primary", 90)
    primary.run(["sh", "-c", f"docker exec -i {PRIMARY} bash < {PLACE}/init-replication-user.sh"])
    put(primary, "pg_hba.conf", PG_HBA.format(standby=standby.address))
    put(primary, "docker-compose.yml", PRIMARY_COMPOSE)
    compose(primary)
    wait_until(lambda: ask(primary, PRIMARY, "SELECT count(*) FROM pg_roles WHERE rolreplication AND NOT rolsuper") == "1", "its role", 60)


def _serves(server: LabServer) -> bool:
    """Not the server of the initialisation, which is stopped again: the container's first process is PostgreSQL only after that."""
    first = server.docker("exec", PRIMARY, "cat", "/proc/1/comm", check=False).stdout.strip()
    return first == "postgres" and ask(server, PRIMARY, "SELECT 1") == "1"


def _make_standby(primary: LabServer, standby: LabServer) -> None:
    words = {"primary": primary.address, "superuser": SUPERUSER_PASSWORD, "replication": REPLICATION_PASSWORD, "image": IMAGE}
    put(standby, ".env", STANDBY_ENV.format(**words))
    put(standby, "compose.yml", STANDBY_COMPOSE)
    put(standby, "pg_hba.conf", PG_HBA.format(standby=standby.address))
    standby.docker("network", "create", "postgres")
    standby.run(["mkdir", "-p", f"{PLACE}/volumes/postgres/data"])
    standby.run(["bash", "-c", f"cd {PLACE} && {COPY.format(**words)}"])
    compose(standby)


def compose(server: LabServer) -> None:
    server.run(["sh", "-c", f"cd {PLACE} && docker compose up -d"], seconds=120)


def put(server: LabServer, name: str, text: str) -> None:
    server.run(["sh", "-c", f"mkdir -p {PLACE} && cat > {PLACE}/{name}"], given=text.encode())
