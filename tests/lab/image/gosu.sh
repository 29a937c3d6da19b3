#!/bin/bash
# gosu USER COMMAND ...: become the user, with his groups and home, and then the command.
user="${1%%:*}"
shift
HOME="$(getent passwd "$user" | cut -d: -f6)"
export HOME
exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
