"""Declaring, recording and forgetting clusters."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from clusters import services
from clusters.models import Cluster, Instance, ReplicationPair, Server
from clusters.models.cluster import Lifecycle
from clusters.placement import panel_ports, port_choose
from clusters.secrets import Secret
from tests.factories import ClusterFactory, InstanceFactory, ServerFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db


def declare(server: Server, **changes: object) -> tuple[Cluster, Instance]:
    values = {"name": "orders", "server": server, "postgres_major": 18, "database": "shop", "owner_role": "shop"}
    return services.cluster_declare(**values | changes)


def test_declaring_a_cluster_makes_its_primary_with_the_lowest_free_port_and_the_newest_programs() -> None:
    cluster, primary = declare(ServerFactory(name="alpha"))
    shown = (primary.name, primary.role, primary.port, primary.bindir, primary.lifecycle, cluster.lifecycle, cluster.epoch)
    assert shown == ("node1", "primary", 5432, "/usr/lib/postgresql/18/bin", "planned", "planned", 1)


def test_passwords_are_made_unless_given_and_no_two_are_alike() -> None:
    cluster, _ = declare(ServerFactory(), owner_password=Secret("given by a person"))
    made = [cluster.superuser_password, cluster.replication_password, cluster.panel_password]
    assert cluster.owner_password == Secret("given by a person")
    assert len({secret.reveal() for secret in made}) == 3
    assert all(len(secret.reveal()) >= 32 for secret in made)


def test_what_is_stored_of_a_password_is_ciphertext() -> None:
    declare(ServerFactory(), owner_password=Secret("correct horse battery"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT owner_password FROM clusters_cluster")
        stored = cursor.fetchone()[0]
    assert "correct" not in stored
    assert stored.startswith("gAAAA")


def test_the_newest_minor_version_of_the_wanted_major_is_chosen_by_number_not_by_text() -> None:
    found = [{"major": 16, "version": f"16.{minor}", "bindir": f"/opt/pg16.{minor}/bin"} for minor in (9, 10, 2)]
    _, primary = declare(ServerFactory(facts={"postgres": found}), postgres_major=16)
    assert primary.bindir == "/opt/pg16.10/bin"


def test_only_programs_that_a_check_has_found_are_taken() -> None:
    with pytest.raises(ValidationError) as refused:
        declare(ServerFactory(name="alpha"), bindir="/tmp/evil")
    sentence = "No complete PostgreSQL 18 was found in this directory of alpha. Found: /usr/lib/postgresql/18/bin."
    assert refused.value.message_dict == {"bindir": [sentence]}


def test_a_server_nobody_has_looked_at_is_refused_with_the_cure() -> None:
    with pytest.raises(ValidationError) as refused:
        declare(ServerFactory(name="alpha", observed_at=None))
    sentence = "The panel has not looked at alpha yet. Check the server first, so that its PostgreSQL programs are known."
    assert refused.value.message_dict == {"server": [sentence]}


def test_a_refused_declaration_leaves_nothing_behind() -> None:
    with pytest.raises(ValidationError):
        declare(ServerFactory(), postgres_major=14)
    assert not Cluster.objects.exists()


def test_a_taken_name_is_refused_at_its_field() -> None:
    declare(ServerFactory())
    with pytest.raises(ValidationError) as refused:
        declare(ServerFactory())
    assert refused.value.message_dict == {"name": ["A cluster of this name exists already. Choose another name."]}


def test_a_taken_port_is_refused_at_its_field() -> None:
    server = ServerFactory()
    declare(server, port=6000)
    with pytest.raises(ValidationError) as refused:
        declare(server, name="billing", port=6000)
    assert refused.value.message_dict == {"port": ["Another instance on this server has this port. Choose another port."]}


def test_ports_of_instances_ports_seen_in_use_and_the_panels_own_are_passed_over(settings, monkeypatch) -> None:
    for key, value in {"HOST": "127.0.0.1", "PORT": "5433"}.items():
        monkeypatch.setitem(settings.DATABASES["default"], key, value)
    server = ServerFactory(facts={"postgres": [], "ports_in_use": [5434]})
    InstanceFactory(server=server, port=5432)
    assert port_choose(server) == 5435
    assert 5433 in panel_ports(server)


def test_a_pair_gets_a_slot_named_after_cluster_and_standby() -> None:
    cluster, primary = declare(ServerFactory(), name="web-shop")
    standby = services.instance_declare(cluster=cluster, server=ServerFactory(), name="node-2", role="standby")
    assert services.pair_declare(upstream=primary, standby=standby).slot == "pgr_web_shop_node_2"


def test_recording_writes_only_its_own_fields() -> None:
    stale = InstanceFactory()
    Instance.objects.filter(pk=stale.pk).update(lifecycle=Lifecycle.REMOVING)
    at = timezone.now() - dt.timedelta(minutes=5)
    services.instance_record_observed(stale, Instance.Observed.STANDBY, {"timeline": 3}, at=at)
    row = Instance.objects.get(pk=stale.pk)
    assert (row.lifecycle, row.observed_role, row.observed, row.observed_at) == ("removing", "standby", {"timeline": 3}, at)


def test_an_instance_that_did_not_answer_keeps_its_earlier_facts() -> None:
    instance = InstanceFactory(observed={"timeline": 3})
    services.instance_record_observed(instance, Instance.Observed.UNREACHABLE)
    assert Instance.objects.get(pk=instance.pk).observed == {"timeline": 3}


def test_another_system_identifier_is_never_recorded_over_the_first() -> None:
    cluster = ClusterFactory(system_identifier="1")
    with pytest.raises(ValidationError):
        services.cluster_record_system_identifier(cluster, "2")
    assert Cluster.objects.get().system_identifier == "1"


def test_forgetting_an_instance_forgets_its_pair_and_frees_its_port() -> None:
    cluster = cluster_with_standbys("orders")
    services.instance_forget(Instance.objects.get(name="orders-2"))
    assert [row.name for row in cluster.instances.all()] == ["orders-1"]
    assert not ReplicationPair.objects.exists()


def test_an_instance_that_others_follow_is_not_forgotten() -> None:
    cluster_with_standbys("orders")
    with pytest.raises(ValidationError) as refused:
        services.instance_forget(Instance.objects.get(name="orders-1"))
    assert refused.value.message_dict == {"instance": ["orders-2 follow this instance. Remove them first."]}


def test_forgetting_a_cluster_forgets_all_of_it_and_nothing_else() -> None:
    cluster, other = cluster_with_standbys("orders", standbys=2), cluster_with_standbys("billing")
    services.cluster_forget(cluster)
    assert list(Cluster.objects.all()) == [other]
    assert (Instance.objects.count(), ReplicationPair.objects.count()) == (2, 1)


def test_a_servers_directory_stays_while_instances_live_there() -> None:
    server = InstanceFactory().server
    services.server_update(server, address="192.0.2.77")
    with pytest.raises(ValidationError) as refused:
        services.server_update(server, base_directory="/srv/other")
    assert list(refused.value.message_dict) == ["base_directory"]
    assert Server.objects.get().address == "192.0.2.77"


def test_a_server_with_instances_is_not_forgotten() -> None:
    server = InstanceFactory().server
    with pytest.raises(ValidationError):
        services.server_forget(server)
    assert Server.objects.exists()
