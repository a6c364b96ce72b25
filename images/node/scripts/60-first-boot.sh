# The first boot of whatever disk this becomes: the root file system grows over all of it.
# Disks only.
set -eu

# The partition grows in the initramfs (cloud-initramfs-growroot), the file system when it is mounted.
awk '$2 == "/" && $4 !~ /x-systemd.growfs/ { $4 = $4 ",x-systemd.growfs" } { print }' OFS=' ' /etc/fstab >/etc/fstab.new
mv /etc/fstab.new /etc/fstab

nft -c -f /etc/nftables.conf
