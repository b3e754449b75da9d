#!/bin/sh
# Installs the Debian packages of the services that tests start themselves. Needs root; may be repeated.
set -eu
packages="slurmctld slurmd slurmdbd slurm-client munge mariadb-server sudo environment-modules"
# Containers: a job of AWS Batch is one in the tests.
packages="$packages podman buildah runc uidmap netavark aardvark-dns iptables debootstrap"
packages="$packages radosgw ceph-mon ceph-osd"
missing=""
for package in $packages; do
    dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=400 -qq update
# shellcheck disable=SC2086
apt-get -o DPkg::Lock::Timeout=400 -qq install -y --no-install-recommends $missing >/dev/null
