from django.contrib import admin
from django.urls import include, path

from pgreplica_admin import api
from tasks.health import healthz

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    *api.urlpatterns,
    path("", include("tasks.urls")),
]
