# The agent and its service. It does not start here: whoever it is, it becomes on the node.
set -eu
[ -n "$ATOLL_ATOLLD" ] || exit 0
"$ATOLL_ATOLLD" install --root /
mkdir -p /usr/lib/atoll
