# The files of rootfs/, and which services a node starts with.
set -eu

find rootfs -type f | while read -r file; do
  install -D -m 644 "$file" "${file#rootfs}"
done
chmod 755 /etc/nftables.conf /usr/lib/atoll/settle-boot

# These units need neither their old init scripts nor, while the image is built, a word to systemd.
export SYSTEMCTL_SKIP_SYSV=1

there() { [ -e "/usr/lib/systemd/system/$1" ] || [ -e "/etc/systemd/system/$1" ]; }

# What the agent starts once the cluster's model wants it of this node.
for unit in haproxy.service rsync.service tinc.service mysql.service mysqlrouter.service mariadb.service \
  postgresql.service patroni.service etcd.service; do
  if there $unit; then systemctl --no-reload --quiet disable $unit; fi
done
systemctl --no-reload --quiet enable ssh.service nftables.service

if [ "$ATOLL_TARGET" = disk ]; then
  systemctl --no-reload --quiet enable atoll-root.service systemd-networkd.service systemd-resolved.service chrony.service
  # systemd-networkd alone has a say: none of Debian's other ways to a network.
  if there networking.service; then systemctl --no-reload --quiet disable networking.service; fi
  ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
fi
