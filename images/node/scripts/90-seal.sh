# Takes out everything that makes a machine this machine. First boot makes it anew: keys, identity, logs, host name.
# This is the last step; check.sh says whether it did its work.
set -eu

# Who writes while, or after, this runs: the journal goes to memory, the others stop.
if [ -d /run/systemd/system ]; then
  systemctl stop --quiet apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service \
    unattended-upgrades.service chrony.service rsyslog.service cron.service systemd-random-seed.service 2>/dev/null || true
  journalctl --relinquish-var
fi

# What the build brought along.
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/99atoll-build
if [ -d /var/lib/atoll-build ]; then
  rm -f /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/mysql.sources
  find /var/lib/atoll-build/sources.list.d -mindepth 1 -maxdepth 1 -exec mv -t /etc/apt/sources.list.d {} +
  if [ -e /var/lib/atoll-build/sources.list ]; then mv /var/lib/atoll-build/sources.list /etc/apt/; fi
  rm -rf /var/lib/atoll-build
fi

# Packages' lists and archives.
rm -rf /var/lib/apt/lists /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/* /var/cache/debconf/*-old /var/lib/dpkg/*-old
mkdir -p /var/lib/apt/lists/partial
rm -f /var/lib/apt/periodic/* /var/lib/apt/daily_lock /var/lib/apt/extended_states.*

# empty FOLDER…: what is in it goes, the folder stays as its package made it
empty() {
  for folder in "$@"; do
    if [ -d "$folder" ]; then find "$folder" -mindepth 1 -delete; fi
  done
}

# Data that database engines made when they were installed: nodes would share the server's identity and keys.
empty /var/lib/mysql /var/lib/mysql-files /var/lib/mysql-keyring /var/lib/mysqlrouter /var/lib/postgresql /var/lib/etcd
rm -f /etc/mysql/debian.cnf /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem

# The identity of the machine and of its agent.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/systemd/credential.secret \
  /var/lib/misc/atoll-root-locked /etc/iscsi/initiatorname.iscsi /etc/nvme/hostid /etc/nvme/hostnqn
rm -rf /var/lib/atoll /etc/atoll /etc/tinc
install -d -m 700 /var/lib/atoll
install -d -m 755 /etc/atoll /etc/tinc
rm -f /boot/efi/atoll.json /etc/hostname.* /etc/adjtime
echo localhost >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n' >/etc/hosts

# What cloud-init knows of the machine that built this.
rm -rf /var/lib/cloud /etc/cloud/cloud-init.disabled /etc/cloud/ds-identify.cfg /etc/cloud/cloud.cfg.d/90-installer-network.cfg \
  /etc/cloud/cloud.cfg.d/99-installer.cfg /etc/network/interfaces.d/50-cloud-init /etc/netplan/50-cloud-init.yaml
rm -f /etc/systemd/network/10-cloud-init-* /etc/systemd/network/05-* /etc/ssh/sshd_config.d/50-cloud-init.conf

# Logs, histories, caches, and what waits in temporary folders.
find /var/log -type f -delete
rm -rf /var/log/journal/* /root/.ssh /root/.cache /root/.local /root/.config
rm -f /root/.bash_history /root/.python_history /root/.viminfo /root/.lesshst /root/.wget-hsts
empty /home /var/lib/systemd/timers /var/lib/systemd/coredump /var/lib/systemd/network /var/lib/systemd/timesync /var/lib/chrony \
  /var/lib/private /var/lib/dhcp /var/lib/dhcpcd /var/lib/lastlog /var/lib/wtmpdb /var/lib/NetworkManager /var/lib/sudo /var/crash
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock /etc/machine-info \
  /var/cache/ldconfig/aux-cache
# mmdebstrap, which makes containers, keeps apt's settings in there until its end, and empties it then: without them its apt
# would clean up the machine that it runs on.
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name 'script_*' ! -name 'mmdebstrap.*' ! -path "$PWD" \
  -exec rm -rf {} +

if [ -d /run/systemd/system ] && [ "$ATOLL_TARGET" = disk ]; then
  # Blocks that held what is gone are given back: a copied image would carry them along.
  fstrim / || true
fi
