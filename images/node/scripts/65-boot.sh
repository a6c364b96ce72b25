# A loss of power at any time after a change of kernels or of the boot loader leaves a machine that boots: everything that
# changes them has settle-boot bring it to where boot loaders look.
# Disks only.
set -eu

settle=/usr/lib/atoll/settle-boot

# Kernels and boot loaders by apt, unattended-upgrades included: when dpkg is done.
printf 'DPkg::Post-Invoke { "%s"; };\n' "$settle" >/etc/apt/apt.conf.d/61atoll-boot

# update-initramfs, by hand or by dpkg's trigger.
mkdir -p /etc/initramfs/post-update.d
printf '#!/bin/sh\nexec %s\n' "$settle" >/etc/initramfs/post-update.d/zz-atoll-boot
chmod 755 /etc/initramfs/post-update.d/zz-atoll-boot

# update-grub is grub-mkconfig, and Debian's last step for a kernel that dpkg alone installs or removes. GRUB has no hook after
# it: dpkg keeps these programs aside, through updates too.
aside=/usr/lib/atoll/debian
mkdir -p "$aside"
for program in grub-mkconfig grub-install; do
  dpkg-divert --quiet --local --rename --divert "$aside/$program" --add "/usr/sbin/$program"
  cat >"/usr/sbin/$program" <<WRAPPER
#!/bin/sh
# Debian's program, and then what it wrote is brought to where boot loaders look.
code=0
$aside/$program "\$@" || code=\$?
$settle
exit \$code
WRAPPER
  chmod 755 "/usr/sbin/$program"
done
