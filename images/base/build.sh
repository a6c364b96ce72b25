#!/bin/bash
# Makes a plain Debian disk from packages alone: GPT, BIOS and UEFI boot (Secure Boot too), ext4, cloud-init, SSH, no
# password. It stands in for Debian's own image where that cannot be downloaded, and takes its place in the lab. There is no
# loop device, no mount and no installer in it: the partitions are put together from files.
#   ATOLL_OUTPUT            folder for disk.qcow2, root.img (the root file system alone) and SHA256SUMS
#   ATOLL_MIRROR, ATOLL_SECURITY_MIRROR, ATOLL_SNAPSHOT, ATOLL_SNAPSHOT_SERVICE, ATOLL_VALID_UNTIL: as in ../node/build.sh
#   ATOLL_ROOT_SIZE         size of the root file system in MiB
# shellcheck disable=SC2016 # apt and GRUB have variables of their own
set -euo pipefail
output=$(realpath -m "${ATOLL_OUTPUT:?the folder to write to}")
cd "$(dirname "$0")"
suite=trixie
root_size=${ATOLL_ROOT_SIZE:-3072}
snapshot=${ATOLL_SNAPSHOT:-}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin
# What is built twice from the same packages is to be the same.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  SOURCE_DATE_EPOCH=1767225600
  [ -z "$snapshot" ] || SOURCE_DATE_EPOCH=$(date -u -d "$(sed -E 's/^(....)(..)(..)T(..)(..)(..)Z$/\1-\2-\3 \4:\5:\6/' <<<"$snapshot")" +%s)
fi
export SOURCE_DATE_EPOCH

# Packer leaves descriptors open to its children, and the shell in which mmdebstrap works knows none above 9.
for fd in "/proc/$$/fd/"*; do
  fd=${fd##*/}
  if [ "$fd" -gt 2 ] && [ "$fd" -lt 255 ]; then eval "exec $fd>&-"; fi
done

say() { echo "$((SECONDS)) s: $*"; }

# archive LABEL prints the address from which this machine's apt has an archive of Debian.
archive() {
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
    awk -F'|' -v label="$1" '$1 == "Debian" && $2 == label && $3 == "main" { print $4; exit }'
}
mirror=${ATOLL_MIRROR:-$(archive Debian)}
if [ -z "$mirror" ]; then
  echo "this machine's apt names no Debian archive: run apt-get update, or give one by the variable mirror" >&2
  exit 1
fi
security=${ATOLL_SECURITY_MIRROR:-}
[ -n "$security" ] || [ -n "${ATOLL_MIRROR:-}" ] || security=$(archive Debian-Security)
security=${security:-${mirror%/}-security}
options=
[ "${ATOLL_VALID_UNTIL:-yes}" = yes ] || options='[check-valid-until=no]'
from=$mirror from_security=$security
if [ -n "$snapshot" ]; then
  service=${ATOLL_SNAPSHOT_SERVICE:?a snapshot needs the address of a snapshot service}
  from=${service%/}/debian/$snapshot/ from_security=${service%/}/debian-security/$snapshot/
  options='[check-valid-until=no]'
fi

mkdir -p "$output"
work=$(mktemp -d "$output/.work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"
root=$work/root

# apt's proxies and certificates go along in a file: they may hold a password.
apt-config dump --format '%F "%v";%n' Acquire | grep -iE '^Acquire::https?::' | grep -v ' "";$' >"$work/apt.conf" || true
echo 'Acquire::Languages "none";' >>"$work/apt.conf"

packages=$(sed 's/#.*//' ../node/packages/{base,machine,boot}.list | xargs | tr ' ' ,)
say "installing Debian $suite"
# What mmdebstrap mounts nobody else sees, even if it is killed: /proc and /sys are never in what is removed in the end.
unshare --mount mmdebstrap --quiet --mode=root --variant=minbase --components=main --include="$packages" \
  --aptopt="$work/apt.conf" --dpkgopt=../node/rootfs/etc/dpkg/dpkg.cfg.d/atoll "$suite" "$root" - <<END
deb $options $from $suite main
deb $options $from $suite-updates main
deb $options $from_security $suite-security main
END
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$root"/etc/apt/sources.list
for entry in "$mirror|$suite $suite-updates" "$security|$suite-security"; do
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' "${entry%%|*}" "${entry##*|}"
done >"$root/etc/apt/sources.list.d/debian.sources"

cat >"$root/etc/fstab" <<'END'
LABEL=rootfs / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1
LABEL=ESP /boot/efi vfat umask=0077,nofail,x-systemd.device-timeout=10s 0 0
END
mkdir -p "$root/boot/efi" "$root/boot/grub/i386-pc"
console='console=tty0 console=ttyS0,115200 net.ifnames=0'
cat >"$root/etc/default/grub" <<END
GRUB_DEFAULT=0
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="$console"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --speed=115200"
GRUB_DISABLE_OS_PROBER=true
END
# Good for any disk with this file system, partitioned or not. The first new kernel has update-grub write it anew.
cat >"$root/boot/grub/grub.cfg" <<END
search --no-floppy --label --set=root rootfs
linux /vmlinuz root=LABEL=rootfs ro $console
initrd /initrd.img
boot
END
chroot "$root" systemctl enable --quiet ssh.service systemd-networkd.service systemd-resolved.service
chroot "$root" passwd --quiet --lock root
chroot "$root" ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf

say "boot loader"
early=$root/boot/grub/early.cfg
printf 'search.fs_label rootfs root\nset prefix=($root)/boot/grub\n' >"$early"
chroot "$root" grub-mkimage -O i386-pc -p /boot/grub -c /boot/grub/early.cfg -o /boot/grub/core.img \
  biosdisk part_gpt ext2 search search_label normal linux configfile echo test serial terminal ls
mv "$root/boot/grub/core.img" "$work/core.img"
rm "$early"
cp "$root"/usr/lib/grub/i386-pc/*.{mod,lst} "$root/boot/grub/i386-pc/"
cp "$root/usr/lib/grub/i386-pc/boot.img" "$work/boot.img"
esp=$work/esp.img
mkfs.vfat -C -F 32 -n ESP -i 0E5F0001 --invariant "$esp" $((124 * 1024)) >/dev/null
printf 'search.fs_label rootfs root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' >"$work/grub.cfg"
touch -d "@$SOURCE_DATE_EPOCH" "$work/grub.cfg"
export MTOOLS_SKIP_CHECK=1 TZ=UTC
mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/debian
mcopy -m -i "$esp" "$root/usr/lib/shim/shimx64.efi.signed" ::/EFI/BOOT/BOOTX64.EFI
mcopy -m -i "$esp" "$root/usr/lib/shim/mmx64.efi.signed" ::/EFI/BOOT/mmx64.efi
mcopy -m -i "$esp" "$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" ::/EFI/BOOT/grubx64.efi
mcopy -m -i "$esp" "$work/grub.cfg" ::/EFI/debian/grub.cfg

# Sealed as a node's image is, for the same reasons.
mkdir "$root/var/tmp/atoll"
cp -r ../node/. "$root/var/tmp/atoll"
chroot "$root" sh /var/tmp/atoll/build.sh scripts/90-seal.sh
rm -r "$root/var/tmp/atoll"
rm -rf "${root:?}"/run/*
find "$root" -xdev -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch -h -d "@$SOURCE_DATE_EPOCH"

say "file system"
uuid=5f0e5a3c-6f0e-4b7e-9a57-0d6f2f3d7c01
E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -L rootfs -U $uuid -E hash_seed=$uuid,lazy_itable_init=0 \
  -d "$root" "$work/root.img" "${root_size}M"
# mke2fs copies when each inode was made here, to which there is no touch.
{
  inodes=$(dumpe2fs -h "$work/root.img" 2>/dev/null | awk '/^Inode count/ { count = $3 } /^Free inodes/ { free = $3 } END { print count - free }')
  for ((inode = 11; inode <= inodes; inode++)); do
    printf 'sif <%d> ctime @%d\nsif <%d> atime @%d\nsif <%d> crtime @%d\n' \
      $inode "$SOURCE_DATE_EPOCH" $inode "$SOURCE_DATE_EPOCH" $inode "$SOURCE_DATE_EPOCH"
    printf 'sif <%d> ctime_extra 0\nsif <%d> atime_extra 0\nsif <%d> crtime_extra 0\nsif <%d> mtime_extra 0\n' $inode $inode $inode $inode
  done
} >"$work/times"
E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH debugfs -w -f "$work/times" "$work/root.img" >/dev/null 2>&1

say "disk"
disk=$work/disk.raw
truncate -s $((128 + root_size + 1))M "$disk"
sfdisk -q "$disk" <<END
label: gpt
label-id: 0B5E0000-0000-4000-8000-000000000001
1 : start=128MiB, size=${root_size}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=0B5E0000-0000-4000-8000-000000000011
14: start=1MiB, size=3MiB, type=21686148-6449-6E6F-744E-656564454649, uuid=0B5E0000-0000-4000-8000-000000000014
15: start=4MiB, size=124MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=0B5E0000-0000-4000-8000-000000000015
END
dd if="$work/root.img" of="$disk" bs=1M seek=128 conv=notrunc,sparse status=none
dd if="$esp" of="$disk" bs=1M seek=4 conv=notrunc,sparse status=none
# What grub-install would write into the first sector (boot.img) and into partition 14 (core.img, from sector 2048 on): where
# the next part is, and that the disk is not a floppy.
at() { dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none; }
printf '\000\010\000\000\000\000\000\000' | at "$work/boot.img" 0x5c
printf '\220\220' | at "$work/boot.img" 0x66
printf '\001\010\000\000\000\000\000\000' | at "$work/core.img" 0x1f4
dd if="$work/boot.img" of="$disk" bs=1 count=$((0x1b8)) conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=2048 conv=notrunc status=none

qemu-img convert -O qcow2 -c -o compression_type=zstd "$disk" "$work/disk.qcow2"
mv "$work/disk.qcow2" "$work/root.img" "$output/"
(cd "$output" && sha256sum disk.qcow2 root.img >SHA256SUMS)
say "done: $(du -h "$output/disk.qcow2" | cut -f1)"
