#!/usr/bin/env bash
# Runs a command with a Docker engine: engine.sh COMMAND…
#
# Where an engine with Compose answers, it is used. Else, as root on Debian, one of Debian 13 is started, from a folder of
# its own, and stopped afterwards: .engine in the checkout, 2 GB. It needs no registry of images: those that the Compose
# files name are made from Debian packages and from the wheels of .venv. Elsewhere the command runs without an engine.
set -euo pipefail
cd "$(dirname "$0")/../.."
if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then exec "$@"; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then exec "$@"; fi

folder=$PWD/.engine
root=$folder/root
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
command -v debootstrap >/dev/null ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap >/dev/null; }

# 1. Two copies of Debian 13: one becomes the base of the images, the other one has the engine.
if [ ! -e "$folder/made" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase \
        --include=ca-certificates,busybox-static,python3,python3-pip,python3-venv,python-is-python3,valkey-tools \
        trixie "$root" >"$folder/debootstrap.log"
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$root" update-ca-certificates >/dev/null
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" -cf "$folder/base.tar" .
    cp /etc/resolv.conf "$root/etc/"
    chroot "$root" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        docker.io docker-cli docker-compose docker-buildx iptables iproute2' >"$folder/apt.log" 2>&1
    mkdir -p "$folder/bin" "$folder/config/cli-plugins"
    ln -sf "$root/usr/bin/docker" "$folder/bin/"
    ln -sf "$root"/usr/libexec/docker/cli-plugins/* "$folder/config/cli-plugins/"
    touch "$folder/made"
fi

# 2. The engine, in a mount namespace whose root is that copy. /tmp is shared, since Compose files may mount folders.
in_root() { chroot "$root" "$@"; }
enter='
mount --bind "$0" "$0"
cd "$0"
mkdir -p old run proc sys dev tmp
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount --bind /tmp tmp
mount -t tmpfs tmpfs run
mkdir run/engine
mount --bind "$1" run/engine
pivot_root . old
exec chroot . sh -c "umount -l /old; exec dockerd -H unix:///run/engine/docker.sock"
'
mkdir -p "$folder/run"
export DOCKER_HOST=unix://$folder/run/docker.sock DOCKER_CONFIG=$folder/config PATH=$folder/bin:$PATH
rules=$(in_root iptables-save)
forward=$(cat /proc/sys/net/ipv4/ip_forward)

stop() {
    status=$?
    trap - EXIT INT TERM
    docker ps -aq | xargs -r docker rm -fv >/dev/null || true
    docker network prune -f >/dev/null || true
    kill "$engine" 2>/dev/null || true
    wait "$engine" || true
    # The rules of the network as they were.
    in_root ip link delete docker0 2>/dev/null || true
    for table in filter nat; do
        in_root iptables -t $table -F
        in_root iptables -t $table -X
    done
    in_root iptables -P FORWARD ACCEPT
    in_root iptables-restore <<<"$rules"
    echo "$forward" >/proc/sys/net/ipv4/ip_forward
    exit $status
}
setsid unshare --mount --propagation private bash -euc "$enter" "$root" "$folder/run" >"$folder/dockerd.log" 2>&1 9>&- &
engine=$!
trap stop EXIT INT TERM
until docker info >/dev/null 2>&1; do
    kill -0 "$engine" || { tail -5 "$folder/dockerd.log" >&2; exit 1; }
    sleep 0.2
done

# 3. The images that the Compose files name.
if ! docker image inspect postgres:18-alpine >/dev/null 2>&1; then
    certificates=/etc/ssl/certs/ca-certificates.crt
    docker import --change "ENV SSL_CERT_FILE=$certificates PIP_CERT=$certificates PIP_BREAK_SYSTEM_PACKAGES=1" \
        "$folder/base.tar" python:3.13-slim >/dev/null
    packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    docker build -q -t valkey/valkey:9.1-alpine --build-context wheels="$packages" tests/containers/images/valkey >/dev/null
    docker build -q -t postgres:18-alpine --build-context wheels="$packages" tests/containers/images/postgres >/dev/null
fi
"$@" 9>&-
