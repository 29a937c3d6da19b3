"""Every route has a rule, every rule holds for every role, and nothing changes by looking.

The URL map is walked, so a route that somebody adds without a rule here fails this file.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone
from ninja.operation import Operation

from clusters.models import Discovery
from pgreplica_admin.api import api
from tasks import feeds
from tasks.access import ROLES, VIEW, access_setup
from tasks.kinds import KINDS
from tasks.models import ApiToken
from tests.factories import (
    AlertFactory,
    AuditFactory,
    ChannelFactory,
    EventFactory,
    JobFactory,
    ServerFactory,
    SilenceFactory,
    StepFactory,
    cluster_with_standbys,
)
from tests.unit.conftest import CAST

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]

ANYONE, SIGNED_IN = "anyone", "signed in"

#: Pages: name of the route -> who may open it (ANYONE, SIGNED_IN, or the permission), and what fills its address.
PAGES: dict[str, str] = {
    "healthz": ANYONE,
    "readyz": ANYONE,
    "metrics": "clusters.view_cluster",
    "home": SIGNED_IN,
    "cluster-create": "tasks.run_create_cluster",
    "cluster-page": "clusters.view_cluster",
    "cluster-board": "clusters.view_cluster",
    "cluster-charts": "clusters.view_cluster",
    "cluster-history": "clusters.view_verification",
    "cluster-schedules": "django_celery_beat.change_periodictask",
    "schedules": "clusters.view_cluster",
    "alerts": "tasks.view_alert",
    "alerts-history": "tasks.view_alert",
    "silences": "tasks.view_silence",
    "silence-add": "tasks.add_silence",
    "silence-end": "tasks.change_silence",
    "alert-rules": "tasks.view_alertrule",
    "alert-rule": "tasks.change_alertrule",
    "alert-channels": "tasks.view_alertchannel",
    "alert-channel-add": "tasks.add_alertchannel",
    "alert-channel": "tasks.change_alertchannel",
    "alert-channel-test": "tasks.change_alertchannel",
    "alert-channel-remove": "tasks.delete_alertchannel",
    "cluster-request": "tasks.run_add_standby",
    "instance-request": "tasks.run_stop_instance",
    "server-page": "clusters.view_server",
    "server-register": "clusters.add_server",
    "server-change": "clusters.change_server",
    "server-host-key": "clusters.change_server",
    "server-ssh-key": "clusters.change_server",
    "server-request": "tasks.run_check_server",
    "adopt": "tasks.run_discover",
    "adoption-report": "clusters.view_discovery",
    "adopt-request": "tasks.run_adopt_cluster",
    "job-page": "tasks.view_job",
    "job-durations": "tasks.view_job",
    "job-runbook": "tasks.view_job",
    "audit-verify": "tasks.view_auditentry",
    "job-cancel": "tasks.run_verify",
    "job-resume": "tasks.run_verify",
    "job-stream": "tasks.view_job",
    "job-events": "tasks.view_job",
    "api:openapi-json": SIGNED_IN,
    "api:openapi-view": SIGNED_IN,
    "api:api-root": ANYONE,  # answers 404
    "api:nowhere": ANYONE,  # answers 404
    "admin:index": SIGNED_IN,
    "admin:login": ANYONE,
    "admin:logout": SIGNED_IN,
    "admin:password_change": SIGNED_IN,
    "admin:password_change_done": SIGNED_IN,
    "admin:autocomplete": SIGNED_IN,
    "admin:jsi18n": SIGNED_IN,
    "admin:search": SIGNED_IN,
    "admin:view_on_site": SIGNED_IN,
    "admin:app_list": SIGNED_IN,
    "admin:None": SIGNED_IN,  # redirects to the change page, and the catch-all
}
ACTS = {"cluster-request": "add-standby", "instance-request": "stop", "server-request": "check"}
#: API routes whose rule is not all: the service wants the permission of the job's kind too (here: of a verification).
ALSO = {"cancel": "tasks.run_verify", "resume": "tasks.run_verify", "plan": "tasks.run_verify"}
PAGES_METHODS = ("GET", "POST")
#: Routes that have nothing to show for the address they are asked at here.
EMPTY = ("admin:app_list", "admin:autocomplete", "admin:view_on_site", "admin:None", "admin:search", "api:api-root", "api:nowhere")
MODEL_VIEWS = {"changelist": "view", "add": "add", "change": "view", "delete": "delete", "history": "view", "password_change": "change"}


@dataclass(frozen=True)
class Route:
    name: str
    path: str
    rule: str | None
    methods: tuple[str, ...] = PAGES_METHODS
    also: str = ""

    def open_to(self, granted: frozenset[str] | None) -> bool:
        """`granted`: the permissions of who asks, None for a stranger."""
        if self.rule == ANYONE:
            return True
        if granted is None:
            return False
        return self.rule == SIGNED_IN or {self.rule, self.also or self.rule} <= granted


@dataclass
class World:
    """One row of each thing, and the routes with its names filled in."""

    job_id: int
    objects: dict[str, Any] = field(default_factory=dict)

    def address(self, route: str, name: str) -> str:
        names = {
            "cluster-page": {"name": "orders"}, "cluster-request": {"name": "orders"}, "instance-request": {"name": "orders"},
            "server-page": {"name": self.objects["server"]}, "server-request": {"name": self.objects["server"]},
            "server-host-key": {"name": "far"}, "server-ssh-key": {"name": "far"},
        }.get(name, {"name": self.objects["server"] if "servers/" in route else "chat" if "channels/" in route else "orders"})  # fmt: skip
        values = names | {"instance": "orders-2", "job_id": self.job_id, "act": ACTS.get(name, ""), "app_label": "auth"}
        values |= {"system_identifier": "7000000000000000001", "number": self.job_id}
        values |= {"content_type_id": 1, "object_id": existing(name), "id": self.objects["user"], "url": "nowhere/", "copy_id": 1}
        values |= {"condition": "standby_down"}
        route = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", route).replace("^", "").replace("$", "").replace(".*", "nowhere")
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(values[match[1]]), route)


def existing(name: str) -> Any:
    """The key of a row of the model that an admin route is about; 1 where there is none."""
    for model in admin.site._registry:
        if name.startswith(f"admin:{model._meta.app_label}_{model._meta.model_name}_"):
            return model._base_manager.values_list("pk", flat=True).first() or 1
    return 1


def patterns(resolver: Any = None, prefix: str = "", spaces: tuple[str, ...] = ()) -> Iterator[tuple[str, str, Any]]:
    """Every route of the URL map: its pattern, its full name, its view."""
    for found in (resolver or get_resolver()).url_patterns:
        route = prefix + str(found.pattern)
        if isinstance(found, URLPattern):
            yield route, ":".join((*spaces, str(found.name))), found.callback
        else:
            yield from patterns(found, route, (*spaces, found.namespace) if found.namespace else spaces)


def operations() -> dict[str, list[Operation]]:
    """The API's operations by their address below /api/v1."""
    found: dict[str, list[Operation]] = {}
    for router in api._get_bound_routers():
        for path, view in router.path_operations.items():
            found.setdefault(re.sub(r"\{", "<", path).replace("}", ">"), []).extend(view.operations)
    return found


def model_rule(name: str) -> str | None:
    """`admin:clusters_server_change` -> `clusters.view_server`."""
    for model in admin.site._registry:
        prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}_"
        verb = MODEL_VIEWS.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if verb:
            return f"{model._meta.app_label}.{verb}_{model._meta.model_name}"
    return None


def routes(world: World) -> list[Route]:
    found, known = [], operations()
    for pattern, name, _view in patterns():
        address = world.address(pattern, name)
        below = pattern.removeprefix("api/v1")
        if name.startswith("api:") and below in known:
            found += [
                Route(name, address, permission_of(operation), tuple(operation.methods), ALSO.get(name.removeprefix("api:"), ""))
                for operation in known[below]
            ]
        else:
            methods = ("GET",) if name.endswith(("_changelist", "_history")) else PAGES_METHODS
            found.append(Route(name, address, PAGES.get(name) or model_rule(name), methods))
    return list({(route.path, route.methods): route for route in found}.values())


def permission_of(operation: Operation) -> str | None:
    permissions = {getattr(auth, "permission", None) for auth in operation.auth_callbacks}
    return permissions.pop() if len(permissions) == 1 else None


@pytest.fixture
def world(people: dict[str, User]) -> World:
    cluster = cluster_with_standbys("orders")
    job = JobFactory(kind="verify", status="done", cluster=cluster)
    StepFactory(job=job)
    EventFactory(job=job)
    AuditFactory()
    Discovery.objects.create(job_id=job.pk)
    ServerFactory(name="far", connection="ssh", ssh_user="panel")
    AlertFactory(pk=job.pk, cluster=cluster)
    SilenceFactory(pk=job.pk)
    ChannelFactory(name="chat")
    return World(job.pk, {"server": cluster.instances.first().server.name, "user": people["otto"].pk})


@pytest.fixture(autouse=True)
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream gives back its connections; inside a test's transaction there is but this one."""
    monkeypatch.setattr(feeds, "give_back_connections", lambda: None)
    monkeypatch.setattr("tasks.stream.give_back_connections", lambda: None)


def asked(client: Client, method: str, path: str) -> HttpResponseBase:
    """The answer; whatever it did to rows and cookies is undone."""
    body, kind = ("{}", "application/json") if path.startswith("/api/") else ("", "application/x-www-form-urlencoded")
    body = '{"kind": "verify"}' if path.endswith("/plan") else body
    cookies = copy.deepcopy(client.cookies)
    with transaction.atomic():
        response = client.generic(method, path, body, kind)
        transaction.set_rollback(True)
    client.cookies = cookies
    return response


def let_in(response: HttpResponseBase) -> bool:
    if response.status_code in (301, 302):
        return "/login/" not in response["Location"]
    return response.status_code not in (401, 403)


def mismatches(client: Client, world: World, granted: frozenset[str] | None, *, of: Callable[[Route], bool]) -> list[str]:
    """Where the answer is not what the rule says. An admin page may be closed to more people (nobody adds a job by hand)."""
    wrong = []
    for route in filter(of, routes(world)):
        for method in route.methods:
            response = asked(client, method, route.path)
            inside, expected = let_in(response), route.open_to(granted)
            stricter = expected and not inside and route.name.startswith("admin:")
            # No such method, or the admin's "there is no such row": no rule to break.
            nothing = response.status_code == 405 or (response.status_code == 302 and response["Location"] == "/admin/")
            missing = response.status_code == 404 and route.name not in EMPTY and not is_api(route)
            failed = response.status_code >= 500 and (route.name, response.status_code) != ("readyz", 503)  # no worker runs here
            if failed or missing or (inside != expected and not stricter and not nothing):
                wrong.append(f"{method} {route.path} ({route.name}, {route.rule}): {response.status_code}")
    return wrong


def is_api(route: Route) -> bool:
    return route.path.startswith("/api/") and route.name not in PAGES


def test_every_route_has_a_rule(world: World) -> None:
    assert [f"{route.name} {route.path}" for route in routes(world) if not route.rule] == []


def test_every_rule_is_of_a_route_that_is_there(world: World) -> None:
    assert sorted(set(PAGES) - {route.name for route in routes(world)} - {"admin:search"}) == []


def test_the_walk_sees_what_it_must(world: World) -> None:
    seen = {(route.name, method) for route in routes(world) for method in route.methods}
    assert {("api:forget", "DELETE"), ("api:stream", "GET"), ("job-stream", "GET"), ("admin:index", "GET"), ("api:create", "POST")} <= seen
    assert len([route for route in routes(world) if is_api(route)]) == 63


def test_no_page_but_the_login_and_the_health_check_is_open(world: World) -> None:
    views = {name: view for _pattern, name, view in patterns() if not getattr(view, "login_required", True)}
    pages = {name for name in views if not name.startswith("api:")}
    assert pages == {"admin:login", "healthz", "readyz", "job-stream", "job-events", "metrics"}  # the last three answer 401 themselves


def test_an_api_route_that_declares_nothing_is_closed() -> None:
    assert [type(auth).__name__ for auth in api.auth] == ["Closed"]


@pytest.mark.parametrize("name", ["", *CAST])
def test_sessions_get_where_their_role_may(world: World, people: dict[str, User], name: str) -> None:
    client = Client()
    if name:
        client.force_login(people[name])
    granted = ROLES.get(CAST[name], frozenset()) if name else None
    assert mismatches(client, world, granted, of=lambda route: True) == []


@pytest.mark.parametrize("scope", ["read", "operate"])
@pytest.mark.parametrize("name", list(CAST))
def test_tokens_get_where_role_and_scope_may(world: World, bearer: Callable[..., Client], name: str, scope: str) -> None:
    granted = ROLES.get(CAST[name], frozenset())
    granted = granted & VIEW if scope == "read" else granted
    assert mismatches(bearer(name, scope), world, granted, of=is_api) == []


def test_an_expired_token_gets_nowhere_and_the_answer_is_that_of_an_unknown_one(world: World, bearer: Callable[..., Client]) -> None:
    expired, unknown = bearer("adam"), Client(headers={"Authorization": "Bearer pgr_unknown"})
    ApiToken.objects.update(expires_at=timezone.now())
    assert mismatches(expired, world, None, of=is_api) == []
    assert expired.get("/api/v1/jobs").json() == unknown.get("/api/v1/jobs").json()


def test_a_token_opens_no_page(world: World, bearer: Callable[..., Client]) -> None:
    client = bearer("adam")
    pages = [route for route in routes(world) if not is_api(route) and route.rule != ANYONE and route.name != "metrics"]
    assert [route.path for route in pages if let_in(asked(client, "GET", route.path))] == []


def test_a_session_that_is_also_there_does_not_save_a_bad_token(people: dict[str, User]) -> None:
    client = Client(headers={"Authorization": "Bearer pgr_unknown"})
    client.force_login(people["adam"])
    assert client.get("/api/v1/jobs").status_code == 401


def test_every_change_by_a_session_needs_the_csrf_token(world: World, signed_in: Callable[[str], Client]) -> None:
    client = signed_in("adam")
    accepted = [
        f"{method} {route.path}"
        for route in routes(world)
        for method in route.methods
        if method not in ("GET", "HEAD") and route.rule != ANYONE and asked(client, method, route.path).status_code not in (403, 405)
    ]
    assert accepted == []


def test_a_session_with_the_csrf_token_may_use_the_api(world: World, signed_in: Callable[[str], Client]) -> None:
    client = signed_in("olga")
    client.get("/admin/password_change/")
    token = client.cookies["csrftoken"].value
    answer = client.post("/api/v1/clusters/orders/verify", {}, content_type="application/json", headers={"X-CSRFToken": token})
    assert answer.status_code == 202


def test_a_disabled_user_gets_nowhere_at_once(world: World, people: dict[str, User], bearer: Callable[..., Client]) -> None:
    program, browser = bearer("olga"), Client()
    browser.force_login(people["olga"])
    assert (program.get("/api/v1/jobs").status_code, browser.get("/api/v1/jobs").status_code) == (200, 200)
    User.objects.filter(username="olga").update(is_active=False)
    assert (program.get("/api/v1/jobs").status_code, browser.get("/api/v1/jobs").status_code) == (401, 401)


def test_looking_changes_nothing(world: World, people: dict[str, User]) -> None:
    """Row by row: no GET of any route leaves a trace (sessions and the log of sign-ins apart)."""
    client = Client()
    people["adam"].is_superuser = True
    people["adam"].save()
    client.force_login(people["adam"])
    before = everything()
    for route in routes(world):
        if "GET" in route.methods:
            client.get(route.path)
    assert everything() == before


def everything() -> dict[str, Any]:
    """Count and content of every table."""
    apart = {"sessions.Session", "axes.AccessLog", "axes.AccessAttempt"}
    models = [model for model in apps.get_models() if model._meta.label not in apart and model._meta.managed]
    return {model._meta.label: sorted(map(str, model._base_manager.values_list(*_columns(model)))) for model in models}


def _columns(model: Any) -> list[str]:
    encrypted = {"superuser_password", "owner_password", "replication_password", "panel_password"}
    return [found.attname for found in model._meta.concrete_fields if found.attname not in encrypted]


def test_the_groups_are_what_the_table_says_and_setting_them_up_again_changes_nothing(people: dict[str, User]) -> None:
    assert access_setup() == {name: ([], []) for name in ROLES}
    assert people["vera"].get_all_permissions() == VIEW
    assert people["olga"].get_all_permissions() == ROLES["operator"]


def test_each_kind_of_job_is_someones_to_request_and_no_viewers() -> None:
    kinds = {kind.permission for kind in KINDS.values()}
    assert kinds <= ROLES["administrator"]
    assert not kinds & ROLES["viewer"]
