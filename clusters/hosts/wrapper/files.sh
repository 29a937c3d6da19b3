# Verbs about files and directories. Every path is absolute; the panel has looked at that.

there() { [ -e "$1" ] || [ -h "$1" ]; }

# "Not there" may mean "not to be seen": the nearest directory that exists must be open to us.
surely_absent() { # PATH
    above=$1
    while [ "$above" != / ] && ! there "$above"; do
        parent_of "$above"
        above=$parent
    done
    [ ! -d "$above" ] || [ -x "$above" ] || fail denied "$1"
}

kind_of() { # PATH: sets $kind
    if [ -h "$1" ]; then kind=symlink
    elif [ -f "$1" ]; then kind=file
    elif [ -d "$1" ]; then kind=directory
    elif [ -e "$1" ]; then kind=other
    else kind=absent && surely_absent "$1"
    fi
}

verb_kind() {
    kind_of "$1"
    printf '%s\n' "$kind"
}

# The first byte of an answer says whether there is a file: + or -.
readable() { # PATH
    if [ ! -e "$1" ]; then
        surely_absent "$1"
        printf -- -
        exit 0
    fi
    [ -f "$1" ] || fail not-file "$1"
    [ -r "$1" ] || fail denied "$1"
    printf +
}

verb_read() { # PATH LIMIT
    readable "$1"
    head -c "$2" <"$1"
}

verb_tail() { # PATH LIMIT
    readable "$1"
    tail -c "$2" <"$1"
}

# staged DIRECTORY: sets $new, a name for what is not complete yet. Under the lock one name does: a killed call leaves at most that.
staged() {
    new="${1%/}/.pgreplica.new"
    [ -n "$fence" ] || new="$new.$$"
    rm -rf "$new"
}

verb_write() { # PATH MODE SIZE, the content on standard input
    kind_of "$1"
    case $kind in file | absent) ;; symlink) fail symlink "$1" ;; *) fail not-file "$1" ;; esac
    parent_of "$1"
    [ -d "$parent" ] || fail absent "$parent"
    staged "$parent"
    set -C
    true >"$new" || fail write "$1"
    set +C
    # The content is complete, on disk and of its final mode before the name shows it. A cut connection must not cut the file.
    if cat >>"$new" && [ "$(($(wc -c <"$new")))" -eq "$3" ] && chmod "$2" "$new" && durable "$new" && mv -f "$new" "$1"; then
        durable "$parent"
    else
        rm -f "$new"
        fail write "$1"
    fi
}

verb_mkdir() { # MODE PATHS...
    mode=$1
    shift
    for path in "$@"; do
        kind_of "$path"
        case $kind in
            absent) mkdir -p "$path" && chmod "$mode" "$path" || fail mkdir "$path" ;;
            directory) chmod "$mode" "$path" || fail denied "$path" ;;
            *) fail not-directory "$path" ;;
        esac
    done
}

verb_remove_file() { # PATH
    kind_of "$1"
    case $kind in absent) return ;; file) ;; *) fail not-file "$1" ;; esac
    rm -f "$1" || fail remove "$1"
    parent_of "$1"
    durable "$parent"
}

# Runs with the panel's own rights (root), so it touches nothing that is there already, and follows no link.
verb_base() { # PATH OWNER
    there "$1" && return
    parent_of "$1"
    # Parents are made as the system makes them, so that the owner can reach its directory.
    (umask 022 && mkdir -p "$parent") && mkdir "$1" && chown -h "$2" "$1" || fail mkdir "$1"
}

is_owned() { # PATH OWNER_FILE OWNER_TEXT
    [ ! -h "$1/$2" ] && [ -f "$1/$2" ] && [ "$(cat "$1/$2")" = "$3" ]
}

verb_mkdir_owned() { # PATH OWNER_FILE OWNER_TEXT
    kind_of "$1"
    if [ "$kind" = directory ] && is_owned "$@"; then
        echo already
        return
    fi
    [ "$kind" = absent ] || fail not-owned "$1"
    parent_of "$1"
    mkdir -p "$parent" || fail mkdir "$1"
    staged "$parent"
    mkdir "$new" && printf '%s\n' "$3" >"$new/$2" && durable "$new/$2" && durable "$new" && mv "$new" "$1" ||
        fail mkdir "$1"
    durable "$parent"
}

device_of() { stat -c %d "$1" 2>/dev/null || stat -f %d "$1"; }

verb_move() { # SOURCE TARGET
    ! there "$2" || fail exists "$2"
    surely_absent "$2"
    kind_of "$1"
    [ "$kind" != absent ] || fail absent "$1"
    parent_of "$2"
    [ -d "$parent" ] || fail absent "$parent"
    # Across file systems mv would copy, for hours and in pieces.
    [ "$kind" = symlink ] || [ "$(device_of "$1")" = "$(device_of "$parent")" ] || fail device "$1"
    mv "$1" "$2" || fail move "$1"
    durable "$parent"
    parent_of "$1"
    durable "$parent"
}

verb_list() { # PATH: each name followed by a NUL
    if ! there "$1"; then
        surely_absent "$1"
        printf -- -
        return
    fi
    [ -d "$1" ] || fail not-directory "$1"
    cd "$1" 2>/dev/null && [ -r . ] || fail denied "$1"
    printf +
    for name in * .[!.]* ..?*; do
        ! there "./$name" || printf '%s\0' "$name"
    done
}

verb_remove_tree() { # PATH OWNER_FILE OWNER_TEXT
    kind_of "$1"
    case $kind in absent) echo absent && return ;; directory) ;; *) fail not-directory "$1" ;; esac
    is_owned "$@" || fail not-owned "$1"
    cd "$1" || fail denied "$1"
    # The owner file goes last, so that a deletion cut short can be taken up again.
    for name in * .[!.]* ..?*; do
        [ "$name" = "$2" ] || ! there "./$name" || rm -rf "./$name" || fail remove "$1"
    done
    rm -f "./$2" && cd / && rmdir "$1" || fail remove "$1"
}

verb_disks() { # PATHS...: for each one line of df in POSIX form
    for path in "$@"; do
        while ! [ -e "$path" ]; do
            parent_of "$path"
            path=$parent
        done
        df -Pk "$path" | { read -r _ && cat; } || fail disk "$path"
    done
}

verb_size() { # PATH: kilobytes
    kind_of "$1"
    case $kind in absent) echo 0 && return ;; directory) ;; *) fail not-directory "$1" ;; esac
    # du exits 1 when files went away under it; its sum still counts.
    du -sk "$1" 2>/dev/null | { read -r size _ && echo "$size"; } || fail denied "$1"
}

verb_facts() {
    printf 'system=%s\nrelease=%s\nmachine=%s\nhostname=%s\n' "$(uname -s)" "$(uname -r)" "$(uname -m)" "$(uname -n)"
    printf 'cpus=%s\n' "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc)"
    libc=$(getconf GNU_LIBC_VERSION 2>/dev/null || { ldd --version 2>&1 | grep -i musl >/dev/null && echo musl; })
    printf 'libc=%s\n' "$libc"
    while read -r name kilobytes _; do
        [ "$name" != MemTotal: ] || printf 'memory_kilobytes=%s\n' "$kilobytes"
    done 2>/dev/null </proc/meminfo || printf 'memory_bytes=%s\n' "$(sysctl -n hw.memsize)"
}
