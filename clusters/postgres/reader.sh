# In a one-shot container: waits for the end of a server that was told to stop, then prints its control file. The lock file goes
# last, after the shutdown checkpoint: sooner than the container ends. Nothing but the first line: it waited in vain.
# DATA SECONDS STATE
echo ready
end=$(($(date +%s) + $2)) looks=0
case $3 in
    running | paused)
        while [ -e "$1/postmaster.pid" ]; do
            sleep 0.005
            looks=$((looks + 1))
            [ $((looks % 50)) -ne 0 ] || [ "$(date +%s)" -lt "$end" ] || exit 9
        done
        ;;
esac
exec pg_controldata --pgdata="$1"
