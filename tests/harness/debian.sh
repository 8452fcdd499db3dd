#!/bin/sh
# Installs the Debian packages that the harness's cluster runs, and starts none of their services.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

packages='conntrack containerd containernetworking-plugins etcd-server iproute2 iptables mmdebstrap openssl runc'

missing=''
for package in $packages; do
    case $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) in
    installed) ;;
    *) missing="$missing $package" ;;
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
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
# shellcheck disable=SC2086 # a list of words
apt-get install --quiet=2 --yes --no-install-recommends $missing >/dev/null
for service in containerd etcd; do
    case $missing in
    *"$service"*) systemctl disable --quiet "$service" 2>/dev/null || true ;;
    esac
done
