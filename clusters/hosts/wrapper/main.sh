fence=$1 token=$2 patience=$3 verb=$4
shift 4
[ -z "$fence" ] || guard
"verb_$verb" "$@"
