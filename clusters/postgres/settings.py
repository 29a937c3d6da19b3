"""Which postgresql.conf settings a person may choose for a cluster.

Refused are those that would run a program or load a library, those that the panel writes itself, and those on which
the safety of replication rests (security.md section 4).
"""

from __future__ import annotations

import re
from typing import Final

from clusters.postgres.refused import NameRefused, has_control, shown
from clusters.postgres.text import gettext_noop as _

#: They run a program, load a library, or name a file that the server reads or writes.
RUNS_CODE: Final = re.compile(
    r".*_command|.*librar.*|dynamic_library_path|extension_control_path|.*_directory|.*_file|.*_dir|include.*|jit_provider|log_filename|log_destination|logging_collector"
    r"|event_source|dynamic_shared_memory_type|oauth_.*|promote_trigger_file|backtrace_functions|allow_alter_system|allow_system_table_mods"
    r"|allow_in_place_tablespaces|session_replication_role|zero_damaged_pages|ignore_.*|debug_.*|trace_.*|post_auth_delay|pre_auth_delay"
)
#: The panel writes them for each instance, or they tell who replicates from whom.
OWNED: Final = frozenset(
    [
        *("listen_addresses", "port", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions"),
        *("cluster_name", "primary_conninfo", "primary_slot_name", "synchronous_standby_names", "synchronized_standby_slots"),
        *("lc_messages", "bonjour", "bonjour_name", "external_pid_file"),
    ]
)
#: Replication, pg_rewind or crash safety rests on them.
SAFETY: Final = frozenset(
    [
        *("fsync", "full_page_writes", "wal_log_hints", "hot_standby", "wal_level", "restart_after_crash", "password_encryption"),
        *("data_sync_retry", "transaction_read_only", "default_transaction_read_only", "zero_damaged_pages", "ssl"),
    ]
)


def setting(name: str, value: str, major: int, field: str = "settings") -> tuple[str, str]:
    """The name in small letters and the value as given. `major`: the PostgreSQL major version it is for."""
    key = name.lower()
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?", key):
        raise NameRefused(field, _("%(field)s: “%(name)s” is not the name of a setting."), name=shown(name))
    if has_control(value) or len(value) > 1000:
        raise NameRefused(
            field,
            _("%(field)s: the value of %(name)s holds a line break or another invisible character, or is too long. Give it on one line."),
            name=key,
        )
    _refuse_reserved(field, key)
    return key, value


def _refuse_reserved(field: str, key: str) -> None:
    if RUNS_CODE.fullmatch(key) or key.startswith("recovery_"):
        template = _("%(field)s: %(name)s cannot be set here: it can make the server run or load something. Take it out.")
    elif key in OWNED:
        template = _("%(field)s: %(name)s cannot be set here: the panel writes it for each instance. Take it out.")
    elif key in SAFETY:
        template = _("%(field)s: %(name)s cannot be set here: the safety of replication rests on it. Take it out.")
    else:
        return
    raise NameRefused(field, template, name=key)
