# sh -c SCRIPT pgreplica PID GROUP MARK: end a command that was sent over SSH, with its process group. Nothing is signalled unless the
# process of that number is proven to be the one that began. A channel that is closed ends nothing by itself.
pid=$1 group=$2 known=$3 waited=0

ours() { mark "$pid" && [ "$marked" = "$known" ]; }
send() { kill -s "$1" -- "-$group" 2>/dev/null || kill -s "$1" "-$group" 2>/dev/null; }

ours || exit 0
[ "$group" -gt 1 ] || exit 1
send TERM
while ours && [ "$waited" -lt 20 ]; do pause; done
send KILL
# KILL is carried out a moment after it was sent.
while send 0 && [ "$waited" -lt 40 ]; do pause; done
