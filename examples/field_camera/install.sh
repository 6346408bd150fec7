#!/bin/sh
# Install hmdrn as a service that watches a camera. As root, on the device:
#     ./install.sh [REQUIREMENT]
# REQUIREMENT is what pip installs: 'hmdrn[camera,mqtt]' if left out; a wheel file where there is no network.
# With DESTDIR=folder the files are put there and nothing else is done, for the image of a memory card.
set -eu

requirement=${1:-"hmdrn[camera,mqtt]"}
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    echo "install.sh: run it as root: sudo $0" >&2
    exit 2
fi

if [ -z "$root" ]; then
    [ -x /opt/hmdrn/bin/python ] || python3 -m venv /opt/hmdrn
    /opt/hmdrn/bin/pip install --upgrade "$requirement"
    getent passwd hmdrn >/dev/null || useradd --system --user-group --home-dir /var/lib/hmdrn --shell /usr/sbin/nologin hmdrn
fi

install -d "$root/etc/hmdrn" "$root/etc/systemd/system"
install -m 644 "$here/hmdrn-watch.service" "$root/etc/systemd/system/hmdrn-watch.service"
# What was set up on this device stays.
[ -e "$root/etc/hmdrn/watch.env" ] || install -m 640 "$here/watch.env" "$root/etc/hmdrn/watch.env"

if [ -z "$root" ]; then
    install -d -o hmdrn -g hmdrn -m 750 /var/lib/hmdrn
    systemctl daemon-reload
    systemctl enable hmdrn-watch
    echo "next: enroll the species, check /etc/hmdrn/watch.env, then: systemctl start hmdrn-watch"
fi
