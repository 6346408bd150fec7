#!/bin/sh
# Install hmdrn as a service that watches a camera; --help tells how.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

usage() {
    cat <<END
usage: sudo ./install.sh [WHEEL | CHECKOUT]

Install hmdrn into /opt/hmdrn, and the service hmdrn-watch that watches a camera with it.

WHEEL is a file hmdrn-*.whl, CHECKOUT a folder with the project's source; without either it is the checkout
that this script lies in. hmdrn is not taken from a package index; the packages that it needs are.

With DESTDIR=folder the service's files are put there and nothing else is done, for the image of a memory card.
END
}

refuse() {
    echo "install.sh: $1" >&2
    exit 2
}

[ $# -le 1 ] || refuse "too many arguments: give one wheel or one checkout; --help tells more"
case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
-*) refuse "there is no option $1: --help tells what there is" ;;
esac

source=${1:-$here/../..}
if [ -f "$source/pyproject.toml" ]; then
    source=$(cd "$source" && pwd)
elif [ -f "$source" ] && [ "${source%.whl}" != "$source" ]; then
    source=$(cd "$(dirname "$source")" && pwd)/$(basename "$source")
else
    refuse "$source is neither a wheel nor a checkout of hmdrn: give one of them; --help tells more"
fi

if [ -z "$root" ]; then
    [ "$(id -u)" -eq 0 ] || refuse "run it as root: sudo $0"
    # A Jetson's TensorRT, and an OpenCV that has GStreamer, are the system's.
    [ -x /opt/hmdrn/bin/python ] || python3 -m venv --system-site-packages /opt/hmdrn
    if major=$(/opt/hmdrn/bin/python -c 'import cv2, numpy; print(numpy.__version__.split(".")[0])' 2>/dev/null); then
        # The system's OpenCV was compiled against this NumPy; one of the next number would break it.
        /opt/hmdrn/bin/pip install --upgrade "$source[mqtt]" "numpy<$((major + 1))"
    else
        /opt/hmdrn/bin/pip install --upgrade "$source[camera,mqtt]"
    fi
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
