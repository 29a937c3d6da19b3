# The panel's image: one image for web, worker and beat. PostgreSQL and Redis are not in it (see compose.yml).
# PYTHON_IMAGE is any Debian with Python 3.11 or newer. Where packages come from is pip's own affair: a file pip.conf beside this one is
# used if there is one, in the first stage only, so that neither it nor what it names is in the image.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
COPY requirements.txt pip.con[f] /build/
RUN python -m venv /opt/venv \
 && PIP_CONFIG_FILE=/build/pip.conf /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /build/requirements.txt \
 && /opt/venv/bin/pip uninstall --yes --quiet pip setuptools

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1 \
    PGREPLICA_STATE_DIR=/var/lib/pgreplica-admin PGREPLICA_STATIC_ROOT=/srv/static
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/pgreplica-admin --shell /usr/sbin/nologin pgreplica
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
# The file system is read-only later, so bytecode is made now. The keys that collectstatic makes on loading the settings stay in a
# directory of this one layer, and are removed in it.
RUN python -m compileall -q . \
 && PGREPLICA_STATE_DIR=/tmp/build python manage.py collectstatic --noinput --verbosity 0 && rm -r /tmp/build
USER pgreplica
VOLUME /var/lib/pgreplica-admin
EXPOSE 8080
CMD ["uvicorn", "pgreplica_admin.asgi:application", "--host", "0.0.0.0", "--port", "8080", "--timeout-graceful-shutdown", "3", "--lifespan", "off", "--no-access-log", "--no-server-header"]
