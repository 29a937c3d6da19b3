# Which process a number means: "<pid> <mark>", the mark being the start time, so that a recycled number is told apart.

# mark PID: sets $marked for a live process; fails when there is none. A zombie has ended: it counts as none.
mark() {
    marked=
    if [ -r /proc/self/stat ]; then
        mark_text=
        while IFS= read -r mark_line || [ -n "$mark_line" ]; do
            mark_text="$mark_text $mark_line"
        done 2>/dev/null <"/proc/$1/stat" || return 1
        # The name stands in brackets and may hold anything; field 3 (state) comes after the last bracket, field 22 is the start time.
        set -f
        # shellcheck disable=SC2086
        set -- ${mark_text##*') '}
        set +f
        case ${1:-Z} in Z | X | x) return 1 ;; esac
        mark_boot=
        [ ! -r /proc/sys/kernel/random/boot_id ] || read -r mark_boot </proc/sys/kernel/random/boot_id
        marked="$mark_boot:${20}"
    else
        # shellcheck disable=SC2046
        set -- $(LC_ALL=C ps -o stat= -o lstart= -p "$1" 2>/dev/null)
        case ${1:-Z} in Z* | X*) return 1 ;; esac
        shift
        marked="ps:$(printf '%s_' "$@")"
    fi
}

# alive FILE: whether the process that a receipt names still runs.
alive() {
    [ -r "$1" ] && read -r alive_pid alive_mark <"$1" && mark "$alive_pid" && [ "$marked" = "$alive_mark" ]
}
