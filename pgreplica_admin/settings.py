"""Django settings. Everything a deployment changes is an environment variable; docs/reference/settings.md lists them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import environ
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

from pgreplica_admin.database import connection_options
from pgreplica_admin.keys import encryption_keys_ensure, secret_key_ensure
from pgreplica_admin.logs import logging_config
from pgreplica_admin.networks import networks_checked
from pgreplica_admin.state import state_directory

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = state_directory()

env = environ.Env()

# -- secrets: two files, made at the first start, 0600, apart from each other and from the database
ENCRYPTION_KEY_FILE = encryption_keys_ensure(Path(env.str("PGREPLICA_ENCRYPTION_KEY_FILE", str(STATE_DIR / "secrets" / "encryption.keys"))))
SECRET_KEY = env.str("SECRET_KEY", "") or secret_key_ensure(STATE_DIR / "secrets" / "django.key")

DEBUG = env.bool("PGREPLICA_DEBUG", False)
ALLOWED_HOSTS = env.list("PGREPLICA_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("PGREPLICA_TRUSTED_ORIGINS", default=[])

PAGE_PORT = env.int("PGREPLICA_PORT", 8080)  # no instance on this machine is given it

# -- served over TLS (by a proxy in front): cookies only over TLS, and browsers are told to stay there
TLS = env.bool("PGREPLICA_TLS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = TLS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_structlog",
    "csp",
    "axes",
    "ninja",
    "pgtrigger",
    "clusters",
    "tasks",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "pgreplica_admin.urls"
ASGI_APPLICATION = "pgreplica_admin.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

# -- the job engine (docs/explanation/job-engine.md)
JOB_LEASE_SECONDS = env.float("PGREPLICA_LEASE_SECONDS", 30.0)
JOB_LOG_MAX_LINES = env.int("PGREPLICA_LOG_MAX_LINES", 100_000)
JOB_LINE_MAX_BYTES = 8192

# -- the panel's own database: PostgreSQL, embedded (`./pgreplica up` sets DATABASE_URL) or yours
DATABASES = {"default": env.db_url("DATABASE_URL", default="postgresql:///pgreplica")}
if env.str("PGREPLICA_DATABASE_PASSWORD_FILE", ""):
    DATABASES["default"]["PASSWORD"] = Path(env.str("PGREPLICA_DATABASE_PASSWORD_FILE")).read_text().strip()
DATABASES["default"] |= {
    "HOST": unquote(DATABASES["default"]["HOST"]),  # libpq's way to name a socket directory in a URL: %2Frun%2Fpostgresql
    "CONN_HEALTH_CHECKS": True,  # the pool looks before it gives a connection out, so a database restart fails no page
    "CONN_MAX_AGE": 0,  # under ASGI a kept connection is never given back; the pool keeps them
}
_options = DATABASES["default"].setdefault("OPTIONS", {})
_options.update(
    pool={"min_size": 1, "max_size": env.int("PGREPLICA_DATABASE_POOL", 12), "timeout": 10},
    options=connection_options(_options.get("options", ""), JOB_LEASE_SECONDS),
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- the doorbell
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_URL = env.str("PGREPLICA_BROKER_URL", REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host="))
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5}
CELERY_TASK_PUBLISH_RETRY = False  # the sweeper sends again what the broker did not take
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "tasks.sweep", "schedule": 5.0, "options": {"expires": 10}},
    "verify_late": {"task": "tasks.verify_late", "schedule": 60.0, "options": {"expires": 60}},
}

# A silent live log says this often that it is there, and looks up again whether its viewer may still see it.
STREAM_HEARTBEAT_SECONDS = env.float("PGREPLICA_STREAM_HEARTBEAT_SECONDS", 15.0)
# Networks (CIDR) beside the public Internet to which notifications may go; and the panel's own address, for the links in them.
ALERT_NETWORKS = networks_checked(env.list("PGREPLICA_ALERT_NETWORKS", default=[]))
PUBLIC_URL = env.str("PGREPLICA_PUBLIC_URL", "").rstrip("/")
# Where `./pgreplica up` has put the embedded PostgreSQL programs; empty where there are none.
EMBEDDED_POSTGRES_BINDIR = env.str("PGREPLICA_EMBEDDED_BINDIR", "")

# -- sign-in
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

# -- what a page may load: itself only. unfold's Alpine needs 'unsafe-eval', no page needs inline scripts
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# -- words
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("pt-br", _("Brazilian Portuguese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = env.str("PGREPLICA_TIME_ZONE", "UTC")

# -- files
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("PGREPLICA_STATIC_ROOT", str(STATE_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

UNFOLD = {
    "SITE_TITLE": "pgreplica-admin",
    "SITE_HEADER": "pgreplica-admin",
    "SITE_SUBHEADER": _("PostgreSQL replication"),
    "SITE_SYMBOL": "database",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("panel.svg")}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "tasks.views.fleet_context",
    "STYLES": [lambda request: static("css/panel.css")],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 250)",
            "100": "oklch(93.5% .03 250)",
            "200": "oklch(88% .06 250)",
            "300": "oklch(80% .1 250)",
            "400": "oklch(70.5% .135 250)",
            "500": "oklch(65% .145 250)",
            "600": "oklch(49.5% .14 252)",
            "700": "oklch(44% .125 253)",
            "800": "oklch(38% .105 254)",
            "900": "oklch(32% .085 255)",
            "950": "oklch(25% .065 256)",
        },
    },
    "SIDEBAR": {"navigation": "tasks.views.sidebar.sidebar"},
}

LOGGING = logging_config(env.str("PGREPLICA_LOG_LEVEL", "INFO"))
