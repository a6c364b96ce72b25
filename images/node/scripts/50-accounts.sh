# Nobody has a password, and root is the only one who may log in, with a key that first-boot data brings.
set -eu

getent passwd | while IFS=: read -r name _ uid _; do
  if [ "$uid" -ge 1000 ] && [ "$name" != nobody ]; then
    # Debian's and vendors' images have a user of their own, with sudo.
    userdel --force --remove "$name" 2>/dev/null || userdel --force "$name"
  fi
done
rm -f /etc/sudoers.d/90-cloud-init-users
while IFS=: read -r name password _; do
  case $password in
  '!'* | '*') ;;
  *) usermod --lock --password '!*' "$name" ;;
  esac
done </etc/shadow

# Of two values sshd takes the first: a file of the base that comes before ours would let passwords in.
asks_for_keys() {
  sshd -T >/run/sshd/settings
  for setting in "passwordauthentication no" "kbdinteractiveauthentication no" "permitemptypasswords no" "permitrootlogin without-password"; do
    grep -qx "$setting" /run/sshd/settings || {
      echo "sshd does not go by 10-atoll.conf, '$setting': look for what comes before it in /etc/ssh/sshd_config.d and sshd_config" >&2
      return 1
    }
  done
  rm /run/sshd/settings
}

# sshd reads its settings only when it has a key.
mkdir -p /run/sshd
if [ -e /etc/ssh/ssh_host_ed25519_key ]; then
  asks_for_keys
else
  ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
  asks_for_keys
  rm -f /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key.pub
fi
