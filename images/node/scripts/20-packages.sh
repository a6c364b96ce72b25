# Debian's security updates, and the packages of packages/*.list.
# Disks only.
# shellcheck disable=SC2016 # apt has variables of its own
set -eu

lists="base mesh files balancer machine"
mysql_release=
for engine in $ATOLL_DATABASES; do
  if [ ! -e "packages/database-$engine.list" ]; then
    echo "the database engine $engine is unknown: mysql, mariadb and postgresql are there" >&2
    exit 1
  fi
  [ "$engine" = mysql ] || lists="$lists database-$engine"
done
case " $ATOLL_DATABASES " in
*" mysql "*mariadb* | *" mariadb "*mysql*)
  echo "mysql and mariadb cannot be on one machine: choose one of them" >&2
  exit 1
  ;;
esac

# unstable MIRROR
unstable() {
  cat <<END
Types: deb
URIs: $1
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
}

# mysql_from_unstable lets packages come out of Debian's unstable when they are asked for: Debian 13 itself has no MySQL. What
# MySQL needs and stable does not have comes along. Updates for these come from there as well, and an operator installs them.
mysql_from_unstable() {
  mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|Debian|//p' | head -n 1)
  unstable "$mirror" >/etc/apt/sources.list.d/mysql.sources
  if [ -n "$ATOLL_SNAPSHOT" ]; then
    # A node that lives gets it from where it gets all else.
    aside=/var/lib/atoll-build
    for list in "$aside/sources.list.d/debian.sources" "$aside/sources.list" "$aside/sources.list.d"/*; do
      mirror=$(sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]+) .*/\2/p' "$list" 2>/dev/null | head -n 1)
      [ -z "$mirror" ] || break
    done
    if [ -n "$mirror" ]; then unstable "$mirror" >$aside/sources.list.d/mysql.sources; fi
  fi
  cat >/etc/apt/preferences.d/mysql <<'END'
Package: *
Pin: release n=sid
Pin-Priority: 50
END
}

# mysql_from_vendor takes it from the archive of whoever makes it.
mysql_from_vendor() {
  if [ -n "$ATOLL_MYSQL_KEY" ]; then
    mkdir -p /etc/apt/keyrings
    echo "$ATOLL_MYSQL_KEY" | base64 -d >/etc/apt/keyrings/mysql.asc
  fi
  echo "$ATOLL_MYSQL_ARCHIVE" >/etc/apt/sources.list.d/mysql.list
}

case " $ATOLL_DATABASES " in
*" mysql "*)
  if [ -n "$ATOLL_MYSQL_ARCHIVE" ]; then mysql_from_vendor; else mysql_from_unstable && mysql_release="--target-release sid"; fi
  apt-get -qq update
  ;;
esac
case " $ATOLL_DATABASES " in
*" postgresql "*)
  # A cluster made now would have the same system identifier on every node.
  mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/atoll.conf
  ;;
esac

packages() { for list in "$@"; do sed 's/#.*//' "packages/$list.list"; done; }
apt-get -qq dist-upgrade
# shellcheck disable=SC2046,SC2086 # one word a list and a package
apt-get -qq install $(packages $lists)
case " $ATOLL_DATABASES " in
*" mysql "*)
  # shellcheck disable=SC2046,SC2086 # as above
  apt-get -qq install $mysql_release $(packages database-mysql)
  ;;
esac
apt-get -qq autoremove --purge
