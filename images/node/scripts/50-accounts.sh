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

# sshd checks its settings only when it has a key.
mkdir -p /run/sshd
if [ -e /etc/ssh/ssh_host_ed25519_key ]; then
  sshd -t
else
  ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
  sshd -t
  rm -f /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key.pub
fi
