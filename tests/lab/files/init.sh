#!/bin/sh
# What a server runs: sshd and the engine. TERM, as a machine's power button: the engine stops its containers, then all ends.
stop() {
  engine="$(cat /run/docker.pid 2>/dev/null)" && kill -TERM "$engine" 2>/dev/null && while kill -0 "$engine" 2>/dev/null; do sleep 0.05; done
  exit 0
}
trap stop TERM

/usr/sbin/sshd -D -e >> /var/log/sshd.log 2>&1 &
/bin/sh /etc/lab/engine.sh &
while :; do
  sleep 3600 &
  wait $!
done
