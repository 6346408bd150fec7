#!/bin/sh
# Install hmdrn as a service that watches a camera; see --help.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

usage() {
    cat <<END
usage: sudo ./install.sh [WHEEL | CHECKOUT]

Install hmdrn into /opt/hmdrn, and the service hmdrn-watch that watches a camera with it.

WHEEL is a file hmdrn-*.whl, CHECKOUT a folder with the project's source; the default is the checkout of this
script. Only the packages that hmdrn needs come from a package index.

With DESTDIR=folder only the service's files are installed, into that folder: for the image of a memory card.
END
}

refuse() {
    echo "install.sh: $1" >&2
    exit 2
}

[ $# -le 1 ] || refuse "too many arguments: give one wheel or one checkout; see --help"
case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
-*) refuse "unknown option $1: see --help" ;;
esac

source=${1:-$here/../..}
if [ -f "$source/pyproject.toml" ]; then
    source=$(cd "$source" && pwd)
elif [ -f "$source" ] && [ "${source%.whl}" != "$source" ]; then
    source=$(cd "$(dirname "$source")" && pwd)/$(basename "$source")
else
    refuse "$source is neither a wheel nor a checkout of hmdrn: give one of them; see --help"
fi

if [ -z "$root" ]; then
    [ "$(id -u)" -eq 0 ] || refuse "run it as root: sudo $0"
    # A Jetson's TensorRT, and an OpenCV that has GStreamer, are the system's.
    [ -x /opt/hmdrn/bin/python ] || python3 -m venv --system-site-packages /opt/hmdrn
    if major=$(/opt/hmdrn/bin/python -c 'import cv2, numpy; print(numpy.__version__.split(".")[0])' 2>/dev/null); then
        # The system's OpenCV was compiled against this NumPy; the next major version would break it.
        /opt/hmdrn/bin/pip install --upgrade "$source[mqtt]" "numpy<$((major + 1))"
    else
        /opt/hmdrn/bin/pip install --upgrade "$source[camera,mqtt]"
    fi
    getent passwd hmdrn >/dev/null || useradd --system --user-group --home-dir /var/lib/hmdrn --shell /usr/sbin/nologin hmdrn
fi

install -d "$root/etc/hmdrn" "$root/etc/systemd/system"
install -m 644 "$here/hmdrn-watch.service" "$root/etc/systemd/system/hmdrn-watch.service"
# Existing settings stay.
[ -e "$root/etc/hmdrn/watch.env" ] || install -m 640 "$here/watch.env" "$root/etc/hmdrn/watch.env"

if [ -z "$root" ]; then
    install -d -o hmdrn -g hmdrn -m 750 /var/lib/hmdrn
    systemctl daemon-reload
    systemctl enable hmdrn-watch
    echo "next: enroll the species, check /etc/hmdrn/watch.env, then: systemctl start hmdrn-watch"
fi
