# Where packages come from while the image is built.
# Disks only.
set -eu

# The archive's layout is the same everywhere: security updates are beside it.
[ -n "$ATOLL_SECURITY_MIRROR" ] || [ -z "$ATOLL_MIRROR" ] || ATOLL_SECURITY_MIRROR=${ATOLL_MIRROR%/}-security
# shellcheck source=/dev/null
. /etc/os-release

# sources MIRROR SECURITY_MIRROR
sources() {
  cat <<END
Types: deb
URIs: $1
Suites: $VERSION_CODENAME $VERSION_CODENAME-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $2
Suites: $VERSION_CODENAME-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
}

list=/etc/apt/sources.list.d/debian.sources
if [ -n "$ATOLL_MIRROR" ]; then
  rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
  sources "$ATOLL_MIRROR" "$ATOLL_SECURITY_MIRROR" >$list
fi
if [ -n "$ATOLL_SNAPSHOT" ]; then
  if [ -z "$ATOLL_SNAPSHOT_SERVICE" ]; then
    echo "a snapshot is to be built from, but no snapshot service is named: give its address too" >&2
    exit 1
  fi
  # Set aside until the image is sealed, a vendor's too: a node that lives gets updates.
  if [ ! -d /var/lib/atoll-build ]; then
    mkdir -p /var/lib/atoll-build/sources.list.d
    find /etc/apt/sources.list.d -mindepth 1 -maxdepth 1 -exec mv -t /var/lib/atoll-build/sources.list.d {} +
    if [ -e /etc/apt/sources.list ]; then mv /etc/apt/sources.list /var/lib/atoll-build/; fi
  fi
  service=${ATOLL_SNAPSHOT_SERVICE%/}
  sources "$service/debian/$ATOLL_SNAPSHOT/" "$service/debian-security/$ATOLL_SNAPSHOT/" >$list
fi

# The packages that follow leave their manuals out already.
install -D -m 644 rootfs/etc/dpkg/dpkg.cfg.d/atoll /etc/dpkg/dpkg.cfg.d/atoll
cat >/etc/apt/apt.conf.d/99atoll-build <<'END'
Acquire::Languages "none";
Acquire::Retries "3";
APT::Install-Recommends "false";
Dpkg::Options { "--force-confdef"; "--force-confold"; };
Dpkg::Use-Pty "0";
END
# What was signed for a week at the moment of a snapshot is out of date by now, and meant to be.
if [ -n "$ATOLL_SNAPSHOT" ] || [ "$ATOLL_VALID_UNTIL" = no ]; then
  echo 'Acquire::Check-Valid-Until "false";' >>/etc/apt/apt.conf.d/99atoll-build
fi
# Nothing starts while it is installed: what starts makes keys and data that no two nodes may share.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

# Debian's own image may look for updates right now; both would want apt's lock.
if [ -d /run/systemd/system ]; then
  systemctl stop --quiet apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service unattended-upgrades.service || true
fi
apt-get -o DPkg::Lock::Timeout=120 -qq update
