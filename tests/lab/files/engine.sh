#!/bin/sh
exec /usr/sbin/dockerd --log-level warn >> /var/log/dockerd.log 2>&1
