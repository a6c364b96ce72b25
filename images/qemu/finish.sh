#!/bin/bash
# Makes the files of an image from the disk that Packer has built: the compressed ones, the bill of materials, the manifest
# and the checksums. What it makes it makes beside the final names and moves there when all of it is good.
#   ATOLL_DISK         the raw disk; it is removed
#   ATOLL_SBOM         the bill of materials that came out of the machine
#   ATOLL_NAME         start of the files' names
#   ATOLL_OUTPUT       folder for them
#   ATOLL_COMPRESSION  level of zstd
set -euo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin
here=$(realpath "$(dirname "$0")")
disk=$(realpath "$ATOLL_DISK")
output=$(realpath -m "$ATOLL_OUTPUT")
name=$ATOLL_NAME
work=$(mktemp -d "$output/.$name.XXXXXX")
gzip=
trap '[ -z "$gzip" ] || kill "$gzip" 2>/dev/null || true; rm -rf "$work"' EXIT
say() { echo "$((SECONDS)) s: $*"; }

# The first partition is the root file system. Linode wants that alone, without a partition table.
read -r start size < <(sfdisk -d "$disk" | sed -nE 's/^[^ ]*1 : start= *([0-9]+), size= *([0-9]+),.*/\1 \2/p')
root=$work/root.img
dd if="$disk" of="$root" bs=1M iflag=skip_bytes,count_bytes skip=$((start * 512)) count=$((size * 512)) conv=sparse status=none
e2fsck -fn "$root" >"$work/fsck" 2>&1 || {
  cat "$work/fsck" >&2
  echo "the root file system is damaged: it has not been unmounted in order" >&2
  exit 1
}

say "looking at what is inside"
mkdir "$work/tree"
debugfs -R "rdump / $work/tree" "$root" >"$work/debugfs" 2>&1
# It does not say so by its exit code when it could not write something.
if grep -v '^debugfs ' "$work/debugfs" >&2; then
  echo "the root file system could not be read as a whole" >&2
  exit 1
fi
# The partition with the boot loader of UEFI belongs to it.
esp=$(sfdisk -d "$disk" | sed -nE 's/^.* start= *([0-9]+),.*type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B.*/\1/p')
if [ -n "$esp" ]; then
  mkdir -p "$work/tree/boot/efi"
  mcopy -s -i "$disk@@$((esp * 512))" ::/ "$work/tree/boot/efi/"
fi
sh "$here/../node/check.sh" "$work/tree"
cp "$work/tree/usr/lib/atoll/image.json" "$work/image.json"
cmp -s "$work/tree/usr/lib/atoll/sbom.cdx.json" "$ATOLL_SBOM" || {
  echo "the bill of materials is not the one in the image" >&2
  exit 1
}
mv "$ATOLL_SBOM" "$work/$name.sbom.cdx.json"
rm -rf "$work/tree"

# Where there are no partitions, nobody need wait for one.
debugfs -R "cat /etc/fstab" "$root" 2>/dev/null | sed '/[[:space:]]\/boot\/efi[[:space:]]/d' >"$work/fstab"
cat >"$work/requests" <<END
rm /etc/fstab
write $work/fstab /etc/fstab
sif /etc/fstab mode 0100644
sif /etc/fstab uid 0
sif /etc/fstab gid 0
END
debugfs -w -f "$work/requests" "$root" >"$work/debugfs" 2>&1
if ! grep -q ' / ' "$work/fstab" || ! e2fsck -fn "$root" >>"$work/debugfs" 2>&1; then
  cat "$work/debugfs" >&2
  echo "the root file system could not be made fit for a disk without partitions" >&2
  exit 1
fi

say "compressing"
# gzip has one thread and is at it the longest.
gzip -6 -n -c "$root" >"$work/$name.linode.img.gz" &
gzip=$!
qemu-img convert -O qcow2 -c -o compression_type=zstd "$disk" "$work/$name.qcow2"
zstd -q -T0 "-$ATOLL_COMPRESSION" --long=27 "$disk" -o "$work/$name.raw.zst"
wait "$gzip"
gzip=

# The old files of that name go together with their manifest: at no time does one describe the others wrongly.
rm -f "$output/$name.manifest.json"
for file in "$name.qcow2" "$name.raw.zst" "$name.linode.img.gz" "$name.sbom.cdx.json"; do
  mv "$work/$file" "$output/$file"
done
manifest=$(cd "$here" && go run ../../internal/nodeimage/manifest write --facts "$work/image.json" --dir "$output" \
  --qcow2 "$name.qcow2" --raw "$name.raw.zst" --linode "$name.linode.img.gz" --sbom "$name.sbom.cdx.json")
rm -rf "$(dirname "$disk")" "$(dirname "$disk").console.log"
say "done: $manifest"
