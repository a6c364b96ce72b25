# The first boot of whatever disk this becomes: the root file system grows over all of it.
# Disks only.
set -eu

# The partition grows by systemd-repart, the file system by systemd-growfs: both at every boot, and with or without cloud-init.
awk '$2 == "/" && $4 !~ /x-systemd.growfs/ { $4 = $4 ",x-systemd.growfs" } { print }' OFS=' ' /etc/fstab >/etc/fstab.new
mv /etc/fstab.new /etc/fstab


# Debian's own disks name their root by its partition. A disk without partitions, as Linode has them, has none to name.
if grep -qs 'root=PARTUUID=' /boot/grub/grub.cfg; then
  e2label "$(findmnt -no SOURCE /)" rootfs
  sed -i -E 's|^[^#[:space:]]+([[:space:]]+/[[:space:]])|LABEL=rootfs\1|' /etc/fstab
  cat >/boot/grub/grub.cfg <<'END'
search --no-floppy --label --set=root rootfs
linux /vmlinuz root=LABEL=rootfs ro console=tty0 console=ttyS0,115200
initrd /initrd.img
boot
END
fi

nft -c -f /etc/nftables.conf
