# sh -c SCRIPT pgreplica USER: who the login is, who USER is (a name, or a number), and how the one becomes the other.
name=$1 way=none said=
login=$(id -u) || exit 1
case $name in
    '') uid=$login gid=$(id -g) groups=$(id -G) home=$HOME ;;
    *[!0-9]*)
        uid=$(id -u "$name" 2>/dev/null) || way=unknown
        gid=$(id -g "$name" 2>/dev/null) groups=$(id -G "$name" 2>/dev/null)
        eval "home=~$name"
        ;;
    *) uid=$name gid=$name groups=$name home=/ ;;
esac
list=
for one in $groups; do list=${list:+$list,}$one; done
case $name in *[!0-9]*) target=$name ;; *) target="#$name" ;; esac

if [ "$way" = unknown ]; then :
elif [ "$uid" = "$login" ]; then way=self
elif [ "$login" = 0 ] && setpriv --reuid="$uid" --regid="$gid" --groups="$list" -- true 2>/dev/null; then way=setpriv
elif said=$(sudo -n -u "$target" -- env true 2>&1); then way=sudo
fi
printf '%s\n' "$way" "$login" "$(id -un 2>/dev/null)" "$uid" "$gid" "$list" "$home" "$PATH" "$target" "$said"
