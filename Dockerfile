# The panel's image: one image for web, worker and beat. PostgreSQL and Redis are not in it (see compose.yml).
FROM python:3.13-slim AS build
COPY requirements-install.txt requirements.txt /tmp/
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements-install.txt \
 && /opt/venv/bin/uv pip install --no-cache --compile-bytecode --python /opt/venv/bin/python --require-hashes -r /tmp/requirements.txt \
 && /opt/venv/bin/pip uninstall --yes uv

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONUTF8=1 \
    PGREPLICA_STATE_DIR=/var/lib/pgreplica-admin PGREPLICA_STATIC_ROOT=/srv/static
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/pgreplica-admin pgreplica
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY launcher launcher
COPY clusters clusters
COPY tasks tasks
COPY pgreplica_admin pgreplica_admin
COPY templates templates
COPY static static
COPY locale locale
# The keys that collectstatic makes on loading the settings stay in a directory of this one layer, and are removed in it.
RUN PGREPLICA_STATE_DIR=/tmp/build python manage.py collectstatic --noinput --verbosity 0 && rm -r /tmp/build
USER pgreplica
VOLUME /var/lib/pgreplica-admin
EXPOSE 8080
CMD ["uvicorn", "pgreplica_admin.asgi:application", "--host", "0.0.0.0", "--port", "8080", "--timeout-graceful-shutdown", "3", "--lifespan", "off", "--no-access-log", "--no-server-header"]
