#!/bin/sh
# Turns a Debian system into a node: runs the scripts that are named, all when none is, in the system itself. Packer starts
# it over SSH, the lab in a chroot. What it goes by:
#   ATOLL_TARGET           disk (default), or container: no kernel, clock, cloud-init or time servers of its own
#   ATOLL_VERSION          version of the image
#   ATOLL_ATOLLD           path of the agent's program; none is installed without it
#   ATOLL_DATABASES        database engines to install, by space: mysql mariadb postgresql
#   ATOLL_MIRROR           Debian archive that the node shall use; the system's own when empty
#   ATOLL_SECURITY_MIRROR  archive of its security updates; ATOLL_MIRROR with -security at its end when empty
#   ATOLL_SNAPSHOT         moment of the archive to build from, such as 20261101T000000Z; now when empty
#   ATOLL_SNAPSHOT_SERVICE address of a snapshot service that holds it, with debian/ and debian-security/ below
#   ATOLL_VALID_UNTIL      "no" takes archives that are older than they say they are good for, as mirrors that stand still are
#   ATOLL_MYSQL_ARCHIVE    apt source line of the vendor's MySQL archive; Debian's packages when empty
#   ATOLL_MYSQL_KEY        that archive's signing key, in base64: it lands in /etc/apt/keyrings/mysql.asc
#   SOURCE_DATE_EPOCH      time to write into what is built, in seconds since 1970; the snapshot's when empty, and now without one
set -eu
cd "$(dirname "$0")"
export ATOLL_TARGET="${ATOLL_TARGET:-disk}" ATOLL_VERSION="${ATOLL_VERSION:-}" ATOLL_ATOLLD="${ATOLL_ATOLLD:-}" \
  ATOLL_DATABASES="${ATOLL_DATABASES:-}" ATOLL_MIRROR="${ATOLL_MIRROR:-}" ATOLL_SECURITY_MIRROR="${ATOLL_SECURITY_MIRROR:-}" \
  ATOLL_SNAPSHOT="${ATOLL_SNAPSHOT:-}" ATOLL_SNAPSHOT_SERVICE="${ATOLL_SNAPSHOT_SERVICE:-}" \
  ATOLL_VALID_UNTIL="${ATOLL_VALID_UNTIL:-yes}" \
  ATOLL_MYSQL_ARCHIVE="${ATOLL_MYSQL_ARCHIVE:-}" ATOLL_MYSQL_KEY="${ATOLL_MYSQL_KEY:-}"
if [ -z "${SOURCE_DATE_EPOCH:-}" ] && [ -n "$ATOLL_SNAPSHOT" ]; then
  SOURCE_DATE_EPOCH=$(date -u -d "$(echo "$ATOLL_SNAPSHOT" | sed -E 's/^(....)(..)(..)T(..)(..)(..)Z$/\1-\2-\3 \4:\5:\6/')" +%s)
fi
# Some programs take a variable without a value for 1970.
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then export SOURCE_DATE_EPOCH; else unset SOURCE_DATE_EPOCH; fi
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

[ $# -gt 0 ] || set -- scripts/*.sh
for script in "$@"; do
  # A container of the lab gets its packages together with the system itself, which takes a fraction of the time.
  if [ "$ATOLL_TARGET" = container ] && grep -qx '# Disks only.' "$script"; then
    continue
  fi
  from=$(date +%s)
  echo "==> $script"
  sh -eu "$script"
  echo "==> $script: done in $(($(date +%s) - from)) s"
done
