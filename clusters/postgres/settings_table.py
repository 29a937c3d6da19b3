"""What PostgreSQL 14 to 18 say of the settings that a person may choose.

Taken from pg_settings of 15.18, 16.2, 17.10 and 18.6 (14 after its release notes): the widest range and the longest list
of values of them all. Settings that `settings` refuses are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final

#: name, first-last major version, type, then values (enum) or low..high and unit (integer, real)
_TABLE: Final = """
datestyle 14-18 string
intervalstyle 14-18 enum postgres,postgres_verbose,sql_standard,iso_8601
timezone 14-18 string
application_name 14-18 string
archive_timeout 14-18 integer 0..1073741823 s
array_nulls 14-18 bool
authentication_timeout 14-18 integer 1..600 s
autovacuum 14-18 bool
autovacuum_analyze_scale_factor 14-18 real 0..100
autovacuum_analyze_threshold 14-18 integer 0..2147483647
autovacuum_freeze_max_age 14-18 integer 100000..2000000000
autovacuum_max_workers 14-18 integer 1..262143
autovacuum_multixact_freeze_max_age 14-18 integer 10000..2000000000
autovacuum_naptime 14-18 integer 1..2147483 s
autovacuum_vacuum_cost_delay 14-18 real -1..100 ms
autovacuum_vacuum_cost_limit 14-18 integer -1..10000
autovacuum_vacuum_insert_scale_factor 14-18 real 0..100
autovacuum_vacuum_insert_threshold 14-18 integer -1..2147483647
autovacuum_vacuum_max_threshold 18-18 integer -1..2147483647
autovacuum_vacuum_scale_factor 14-18 real 0..100
autovacuum_vacuum_threshold 14-18 integer 0..2147483647
autovacuum_work_mem 14-18 integer -1..2147483647 kB
autovacuum_worker_slots 18-18 integer 1..262143
backend_flush_after 14-18 integer 0..256 8kB
bgwriter_delay 14-18 integer 10..10000 ms
bgwriter_flush_after 14-18 integer 0..256 8kB
bgwriter_lru_maxpages 14-18 integer 0..1073741823
bgwriter_lru_multiplier 14-18 real 0..10
bytea_output 14-18 enum escape,hex
check_function_bodies 14-18 bool
checkpoint_completion_target 14-18 real 0..1
checkpoint_flush_after 14-18 integer 0..256 8kB
checkpoint_timeout 14-18 integer 30..86400 s
checkpoint_warning 14-18 integer 0..2147483647 s
client_connection_check_interval 14-18 integer 0..2147483647 ms
client_min_messages 14-18 enum debug5,debug4,debug3,debug2,debug1,log,notice,warning,error
commit_delay 14-18 integer 0..100000
commit_siblings 14-18 integer 0..1000
commit_timestamp_buffers 17-18 integer 0..131072 8kB
compute_query_id 14-18 enum auto,regress,on,off
constraint_exclusion 14-18 enum partition,on,off
cpu_index_tuple_cost 14-18 real 0..1.79769e+308
cpu_operator_cost 14-18 real 0..1.79769e+308
cpu_tuple_cost 14-18 real 0..1.79769e+308
cursor_tuple_fraction 14-18 real 0..1
deadlock_timeout 14-18 integer 1..2147483647 ms
default_statistics_target 14-18 integer 1..10000
default_table_access_method 14-18 string
default_tablespace 14-18 string
default_text_search_config 14-18 string
default_toast_compression 14-18 enum pglz,lz4
default_transaction_deferrable 14-18 bool
default_transaction_isolation 14-18 enum serializable,repeatable read,read committed,read uncommitted
effective_cache_size 14-18 integer 1..2147483647 8kB
effective_io_concurrency 14-18 integer 0..1000
enable_async_append 14-18 bool
enable_bitmapscan 14-18 bool
enable_distinct_reordering 18-18 bool
enable_gathermerge 14-18 bool
enable_group_by_reordering 17-18 bool
enable_hashagg 14-18 bool
enable_hashjoin 14-18 bool
enable_incremental_sort 14-18 bool
enable_indexonlyscan 14-18 bool
enable_indexscan 14-18 bool
enable_material 14-18 bool
enable_memoize 14-18 bool
enable_mergejoin 14-18 bool
enable_nestloop 14-18 bool
enable_parallel_append 14-18 bool
enable_parallel_hash 14-18 bool
enable_partition_pruning 14-18 bool
enable_partitionwise_aggregate 14-18 bool
enable_partitionwise_join 14-18 bool
enable_presorted_aggregate 16-18 bool
enable_self_join_elimination 18-18 bool
enable_seqscan 14-18 bool
enable_sort 14-18 bool
enable_tidscan 14-18 bool
escape_string_warning 14-18 bool
exit_on_error 14-18 bool
extra_float_digits 14-18 integer -15..3
file_copy_method 18-18 enum copy,clone
file_extend_method 17-18 enum posix_fallocate,write_zeros
force_parallel_mode 14-15 enum off,on,regress
from_collapse_limit 14-18 integer 1..2147483647
geqo 14-18 bool
geqo_effort 14-18 integer 1..10
geqo_generations 14-18 integer 0..2147483647
geqo_pool_size 14-18 integer 0..2147483647
geqo_seed 14-18 real 0..1
geqo_selection_bias 14-18 real 1.5..2
geqo_threshold 14-18 integer 2..2147483647
gin_fuzzy_search_limit 14-18 integer 0..2147483647
gin_pending_list_limit 14-18 integer 64..2147483647 kB
hash_mem_multiplier 14-18 real 1..1000
hot_standby_feedback 14-18 bool
huge_page_size 14-18 integer 0..2147483647 kB
huge_pages 14-18 enum off,on,try
icu_validation_level 16-18 enum disabled,debug5,debug4,debug3,debug2,debug1,log,notice,warning,error
idle_in_transaction_session_timeout 14-18 integer 0..2147483647 ms
idle_replication_slot_timeout 18-18 integer 0..2147483647 s
idle_session_timeout 14-18 integer 0..2147483647 ms
io_combine_limit 17-18 integer 1..128 8kB
io_max_combine_limit 18-18 integer 1..128 8kB
io_max_concurrency 18-18 integer -1..1024
io_method 18-18 enum sync,worker,io_uring
io_workers 18-18 integer 1..32
jit 14-18 bool
join_collapse_limit 14-18 integer 1..2147483647
lock_timeout 14-18 integer 0..2147483647 ms
log_autovacuum_min_duration 14-18 integer -1..2147483647 ms
log_checkpoints 14-18 bool
log_connections 14-18 string
log_disconnections 14-18 bool
log_duration 14-18 bool
log_error_verbosity 14-18 enum terse,default,verbose
log_executor_stats 14-18 bool
log_hostname 14-18 bool
log_line_prefix 14-18 string
log_lock_failures 18-18 bool
log_lock_waits 14-18 bool
log_min_duration_sample 14-18 integer -1..2147483647 ms
log_min_duration_statement 14-18 integer -1..2147483647 ms
log_min_error_statement 14-18 enum debug5,debug4,debug3,debug2,debug1,info,notice,warning,error,log,fatal,panic
log_min_messages 14-18 enum debug5,debug4,debug3,debug2,debug1,info,notice,warning,error,log,fatal,panic
log_parameter_max_length 14-18 integer -1..1073741823 B
log_parameter_max_length_on_error 14-18 integer -1..1073741823 B
log_parser_stats 14-18 bool
log_planner_stats 14-18 bool
log_recovery_conflict_waits 14-18 bool
log_replication_commands 14-18 bool
log_startup_progress_interval 15-18 integer 0..2147483647 ms
log_statement 14-18 enum none,ddl,mod,all
log_statement_sample_rate 14-18 real 0..1
log_statement_stats 14-18 bool
log_temp_files 14-18 integer -1..2147483647 kB
log_timezone 14-18 string
log_transaction_sample_rate 14-18 real 0..1
logical_decoding_work_mem 14-18 integer 64..2147483647 kB
maintenance_io_concurrency 14-18 integer 0..1000
maintenance_work_mem 14-18 integer 64..2147483647 kB
max_active_replication_origins 18-18 integer 0..262143
max_connections 14-18 integer 1..262143
max_files_per_process 14-18 integer 64..2147483647
max_locks_per_transaction 14-18 integer 10..2147483647
max_logical_replication_workers 14-18 integer 0..262143
max_notify_queue_pages 17-18 integer 64..2147483647
max_parallel_apply_workers_per_subscription 16-18 integer 0..1024
max_parallel_maintenance_workers 14-18 integer 0..1024
max_parallel_workers 14-18 integer 0..1024
max_parallel_workers_per_gather 14-18 integer 0..1024
max_pred_locks_per_page 14-18 integer 0..2147483647
max_pred_locks_per_relation 14-18 integer -2147483648..2147483647
max_pred_locks_per_transaction 14-18 integer 10..2147483647
max_prepared_transactions 14-18 integer 0..262143
max_replication_slots 14-18 integer 0..262143
max_slot_wal_keep_size 14-18 integer -1..2147483647 MB
max_stack_depth 14-18 integer 100..2147483647 kB
max_standby_archive_delay 14-18 integer -1..2147483647 ms
max_standby_streaming_delay 14-18 integer -1..2147483647 ms
max_sync_workers_per_subscription 14-18 integer 0..262143
max_wal_senders 14-18 integer 0..262143
max_wal_size 14-18 integer 2..2147483647 MB
max_worker_processes 14-18 integer 0..262143
md5_password_warnings 18-18 bool
min_dynamic_shared_memory 14-18 integer 0..2147483647 MB
min_parallel_index_scan_size 14-18 integer 0..715827882 8kB
min_parallel_table_scan_size 14-18 integer 0..715827882 8kB
min_wal_size 14-18 integer 2..2147483647 MB
multixact_member_buffers 17-18 integer 16..131072 8kB
multixact_offset_buffers 17-18 integer 16..131072 8kB
notify_buffers 17-18 integer 16..131072 8kB
old_snapshot_threshold 14-16 integer -1..86400 min
parallel_leader_participation 14-18 bool
parallel_setup_cost 14-18 real 0..1.79769e+308
parallel_tuple_cost 14-18 real 0..1.79769e+308
plan_cache_mode 14-18 enum auto,force_generic_plan,force_custom_plan
quote_all_identifiers 14-18 bool
random_page_cost 14-18 real 0..1.79769e+308
recursive_worktable_factor 15-18 real 0.001..1000000
remove_temp_files_after_crash 14-18 bool
reserved_connections 16-18 integer 0..262143
restrict_nonsystem_relation_kind 14-18 string
row_security 14-18 bool
scram_iterations 16-18 integer 1..2147483647
search_path 14-18 string
seq_page_cost 14-18 real 0..1.79769e+308
serializable_buffers 17-18 integer 16..131072 8kB
shared_buffers 14-18 integer 16..1073741823 8kB
shared_memory_type 14-18 enum sysv,mmap
statement_timeout 14-18 integer 0..2147483647 ms
stats_fetch_consistency 15-18 enum none,cache,snapshot
subtransaction_buffers 17-18 integer 0..131072 8kB
summarize_wal 17-18 bool
superuser_reserved_connections 14-18 integer 0..262143
sync_replication_slots 17-18 bool
synchronize_seqscans 14-18 bool
synchronous_commit 14-18 enum local,remote_write,remote_apply,on,off
tcp_keepalives_count 14-18 integer 0..2147483647
tcp_keepalives_idle 14-18 integer 0..2147483647 s
tcp_keepalives_interval 14-18 integer 0..2147483647 s
tcp_user_timeout 14-18 integer 0..2147483647 ms
temp_buffers 14-18 integer 100..1073741823 8kB
temp_file_limit 14-18 integer -1..2147483647 kB
temp_tablespaces 14-18 string
timezone_abbreviations 14-18 string
track_activities 14-18 bool
track_activity_query_size 14-18 integer 100..1048576 B
track_commit_timestamp 14-18 bool
track_cost_delay_timing 18-18 bool
track_counts 14-18 bool
track_functions 14-18 enum none,pl,all
track_io_timing 14-18 bool
track_wal_io_timing 14-18 bool
transform_null_equals 14-18 bool
update_process_title 14-18 bool
vacuum_buffer_usage_limit 16-18 integer 0..16777216 kB
vacuum_cost_delay 14-18 real 0..100 ms
vacuum_cost_limit 14-18 integer 1..10000
vacuum_cost_page_dirty 14-18 integer 0..10000
vacuum_cost_page_hit 14-18 integer 0..10000
vacuum_cost_page_miss 14-18 integer 0..10000
vacuum_defer_cleanup_age 14-15 integer 0..1000000
vacuum_failsafe_age 14-18 integer 0..2100000000
vacuum_freeze_min_age 14-18 integer 0..1000000000
vacuum_freeze_table_age 14-18 integer 0..2000000000
vacuum_max_eager_freeze_failure_rate 18-18 real 0..1
vacuum_multixact_failsafe_age 14-18 integer 0..2100000000
vacuum_multixact_freeze_min_age 14-18 integer 0..1000000000
vacuum_multixact_freeze_table_age 14-18 integer 0..2000000000
vacuum_truncate 18-18 bool
wal_buffers 14-18 integer -1..262143 8kB
wal_compression 14-18 enum pglz,lz4,zstd,on,off
wal_consistency_checking 14-18 string
wal_decode_buffer_size 15-18 integer 65536..1073741823 B
wal_init_zero 14-18 bool
wal_keep_size 14-18 integer 0..2147483647 MB
wal_receiver_create_temp_slot 14-18 bool
wal_receiver_status_interval 14-18 integer 0..2147483 s
wal_receiver_timeout 14-18 integer 0..2147483647 ms
wal_recycle 14-18 bool
wal_retrieve_retry_interval 14-18 integer 1..2147483647 ms
wal_sender_timeout 14-18 integer 0..2147483647 ms
wal_skip_threshold 14-18 integer 0..2147483647 kB
wal_summary_keep_time 17-18 integer 0..35791394 min
wal_sync_method 14-18 enum fsync,fdatasync,open_sync,open_datasync
wal_writer_delay 14-18 integer 1..10000 ms
wal_writer_flush_after 14-18 integer 0..2147483647 8kB
work_mem 14-18 integer 64..2147483647 kB
xmlbinary 14-18 enum base64,hex
xmloption 14-18 enum content,document
"""


@dataclass(frozen=True)
class Known:
    """One setting. Range and unit are those of pg_settings."""

    name: str
    since: int
    until: int
    type: str  # "bool", "enum", "integer", "real", "string"
    values: tuple[str, ...] = ()
    low: float = -inf
    high: float = inf
    unit: str = ""


@lru_cache(maxsize=1)
def known_settings() -> Mapping[str, Known]:
    """The table, by name."""
    return {known.name: known for known in map(_known, _TABLE.split("\n")[1:-1])}


def _known(line: str) -> Known:
    name, majors, kind, rest = f"{line}   ".split(" ", 3)
    since, until = map(int, majors.split("-"))
    if kind == "enum":
        return Known(name, since, until, kind, values=tuple(rest.strip().split(",")))
    if kind in ("integer", "real"):
        span, _, unit = rest.strip().partition(" ")
        low, high = span.split("..")
        return Known(name, since, until, kind, low=float(low), high=float(high), unit=unit)
    return Known(name, since, until, kind)
