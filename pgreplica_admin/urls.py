from django.contrib import admin
from django.urls import include, path

from pgreplica_admin import api
from tasks.health import healthz, readyz
from tasks.metrics import metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    *api.urlpatterns,
    path("", include("tasks.urls")),
]
