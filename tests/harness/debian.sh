#!/bin/sh
# Installs the Debian packages of the programs that are given as arguments and missing, and says which.
# None of their services is started, and nothing is removed for them.
set -eu
export PATH="$PATH:/usr/sbin:/sbin:/usr/lib/cni" DEBIAN_FRONTEND=noninteractive

missing=''
for program in "$@"; do
    command -v "$program" >/dev/null && continue
    case $program in
    etcd) missing="$missing etcd-server" ;;
    # Not named by its `bridge`: iproute2 has a program of that name too.
    host-local) missing="$missing containernetworking-plugins" ;;
    ip) missing="$missing iproute2" ;;
    *) missing="$missing $program" ;;
    esac
done
[ -n "$missing" ] || exit 0

echo "harness: installing the Debian packages$missing" >&2
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
apt-get update --quiet=2
# shellcheck disable=SC2086 # a list of words
apt-get install --quiet=2 --yes --no-install-recommends --no-remove $missing >/dev/null
for service in etcd prometheus; do
    case " $missing " in
    *" $service"*) systemctl disable --quiet "$service" 2>/dev/null || true ;;
    esac
done
