#!/bin/sh
# check.sh ROOT: fails when the system below ROOT is not sealed, that is when two machines made of it would share a key, a
# name or a password, or when it tells of the machine that built it. Every finding is printed, with what to do about it: the
# place to mend is scripts/90-seal.sh.
set -eu
root=${1:?the root directory of the system to check}
root=${root%/}
cd "${root:-/}"
failed=0

# finding TEXT PATH…
finding() {
  text=$1
  shift
  for path in "$@"; do
    echo "not sealed: $text: /$path" >&2
    failed=1
  done
}

# none TEXT PATTERN…: nothing may be there, not even a dangling link
none() {
  text=$1
  shift
  for path in "$@"; do
    if [ -e "$path" ] || [ -L "$path" ]; then finding "$text" "$path"; fi
  done
}

# no_files TEXT FOLDER [FIND ARGUMENT…]: nothing below a folder but folders
no_files() {
  text=$1
  folder=$2
  shift 2
  [ -d "$folder" ] || return 0
  found=$(find "$folder" -xdev ! -type d "$@" | head -n 5)
  if [ -n "$found" ]; then
    # shellcheck disable=SC2086 # one word a path
    finding "$text" $found
  fi
}

# Who this machine is.
if [ -s etc/machine-id ] && [ "$(cat etc/machine-id)" != uninitialized ]; then
  finding "machine-id, which names journals and leases" etc/machine-id
fi
if [ -f var/lib/dbus/machine-id ] && [ ! -L var/lib/dbus/machine-id ]; then finding "machine-id of D-Bus" var/lib/dbus/machine-id; fi
none "SSH host key" etc/ssh/ssh_host_*
none "seed of random numbers" var/lib/systemd/random-seed
none "key of systemd's credentials" var/lib/systemd/credential.secret
none "name of the machine to its storage" etc/iscsi/initiatorname.iscsi etc/nvme/hostid etc/nvme/hostnqn
none "mark of a boot" var/lib/misc/atoll-root-locked
if [ -e etc/hostname ] && [ "$(cat etc/hostname)" != localhost ]; then finding "host name of the builder" etc/hostname; fi
if [ -e etc/hosts ] && sed 's/#.*//' etc/hosts | awk '{ for (i = 2; i <= NF; i++) if ($i !~ /^(localhost|ip6-)/) exit 1 }'; then :; else
  [ ! -e etc/hosts ] || finding "name of the builder" etc/hosts
fi

# Who the node is.
no_files "the agent's identity or state" var/lib/atoll
no_files "the agent's first-boot data" etc/atoll
none "first-boot data of the agent" boot/efi/atoll.json
no_files "keys of the mesh" etc/tinc
no_files "keys of the mesh" etc/wireguard

# Who may log in.
# shellcheck disable=SC2094 # finding prints the path, it does not write there
if [ -e etc/shadow ]; then
  while IFS=: read -r name password _; do
    case $password in
    '!'* | '*'*) ;;
    '') finding "user $name has no password, not even a locked one" etc/shadow ;;
    *) finding "user $name has a password" etc/shadow ;;
    esac
  done <etc/shadow
fi
# shellcheck disable=SC2094 # as above
if [ -e etc/passwd ]; then
  while IFS=: read -r name password uid _; do
    if [ "$uid" -ge 1000 ] && [ "$name" != nobody ]; then finding "user $name" etc/passwd; fi
    if [ "$uid" -eq 0 ] && [ "$name" != root ]; then finding "user $name is root, too" etc/passwd; fi
    [ "$password" = x ] || [ "$password" = '*' ] || finding "user $name has no locked password" etc/passwd
  done <etc/passwd
fi
none "key or history of a user" root/.ssh root/.bash_history root/.python_history root/.cache home/*
none "right of a user who is not there" etc/sudoers.d/90-cloud-init-users
# sshd takes the first value that it reads, and Debian's sshd_config begins with the folder.
include='^[[:space:]]*Include[[:space:]]+/etc/ssh/sshd_config\.d/\*\.conf'
if ! grep -qsE "$include" etc/ssh/sshd_config; then
  finding "SSH may take passwords: sshd_config.d is not included" etc/ssh/sshd_config
elif sed -E "\\#$include#,\$d" etc/ssh/sshd_config | grep -qiE '^[[:space:]]*(PasswordAuthentication|KbdInteractiveAuthentication|PermitEmptyPasswords|Match)[[:space:]=]'; then
  finding "SSH may take passwords: sshd_config.d is included too late" etc/ssh/sshd_config
fi
for setting in PasswordAuthentication KbdInteractiveAuthentication PermitEmptyPasswords; do
  first=$(grep -iE "^[[:space:]]*${setting}[[:space:]=]" etc/ssh/sshd_config.d/*.conf /dev/null | head -n 1)
  case $first in
  etc/ssh/sshd_config.d/*":$setting no") ;;
  '') finding "SSH may take passwords: nothing says $setting no" etc/ssh/sshd_config.d ;;
  *) finding "SSH may take passwords: ${first#*:}" "${first%%:*}" ;;
  esac
done
if ! grep -qs 'policy drop' etc/nftables.conf; then finding "the firewall is open" etc/nftables.conf; fi
[ -L etc/systemd/system/sysinit.target.wants/nftables.service ] ||
  finding "the firewall does not start" etc/systemd/system/sysinit.target.wants/nftables.service
found=$(grep -rlsI -e '-----BEGIN [A-Z ]*PRIVATE KEY' etc root home opt srv usr/local var 2>/dev/null | head -n 5) || true
# shellcheck disable=SC2086 # one word a path
[ -z "$found" ] || finding "private key" $found

# What databases would share.
no_files "data of a database" var/lib/mysql
no_files "data of a database" var/lib/postgresql
no_files "data of a database" var/lib/etcd
none "password of a database" etc/mysql/debian.cnf
none "key that every node would have" etc/ssl/private/ssl-cert-snakeoil.key

# What was written on the way.
no_files "log" var/log ! -name README
none "journal" var/log/journal/*
no_files "list of packages" var/lib/apt/lists ! -name lock
no_files "archive of packages" var/cache/apt ! -name lock
no_files "state of cloud-init" var/lib/cloud
no_files "lease of an address" var/lib/dhcp
no_files "lease of an address" var/lib/dhcpcd
no_files "lease of an address" var/lib/systemd/network
# A machine that runs, and is checked as it does, has a clock that writes.
if [ -n "$root" ]; then no_files "state of the clock" var/lib/chrony; fi
no_files "state of a service" var/lib/private
no_files "memory of a program" var/lib/systemd/coredump
no_files "memory of a program" var/crash
none "network of the builder" etc/systemd/network/10-cloud-init-* etc/network/interfaces.d/50-cloud-init* etc/netplan/50-cloud-init.yaml etc/udev/rules.d/70-persistent-net.rules
if [ ! -L etc/resolv.conf ] && grep -qs '^nameserver' etc/resolv.conf; then finding "name server of the builder" etc/resolv.conf; fi
none "aid of the build" usr/sbin/policy-rc.d etc/apt/apt.conf.d/99atoll-build etc/apt/apt.conf.d/99mmdebstrap var/lib/atoll-build
found=$(grep -rlsiE '^[^#/]*(proxy|password)|://[^/ ]*@' etc/apt 2>/dev/null | head -n 5) || true
# shellcheck disable=SC2086 # one word a path
[ -z "$found" ] || finding "proxy or password of the builder" $found
none "password of an archive" etc/apt/auth.conf etc/apt/auth.conf.d/*
none "backup of accounts" etc/shadow- etc/passwd- etc/group- etc/gshadow-
# A system that runs has files of its own in there.
if [ -n "$root" ]; then
  none "temporary file" tmp/* tmp/.[!.]* var/tmp/* var/tmp/.[!.]*
fi

[ "$failed" = 0 ] || exit 1
echo "sealed: /${root#/}"
