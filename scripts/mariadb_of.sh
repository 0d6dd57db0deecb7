#!/bin/sh
# scripts/mariadb_of.sh ROOT DIRECTORY: makes DIRECTORY/bin with the MariaDB of another Debian release, whose packages are unpacked
# in ROOT (by mmdebstrap, or copied out of a container). They run here by that release's own loader and libraries. Put
# DIRECTORY/bin first in PATH, and the tests and hs-drill start these servers.
set -eu
[ $# = 2 ] || { echo "usage: $0 ROOT DIRECTORY" >&2; exit 2; }
root=$(cd "$1" && pwd)
mkdir -p "$2/bin" "$2/share"
to=$(cd "$2" && pwd)

first() { # the first file of the root that fits one of the patterns
    for pattern; do
        for file in $root/$pattern; do
            [ -e "$file" ] && { echo "$file"; return; }
        done
    done
    echo "$0: nothing in $root is $*" >&2
    exit 2
}
libc=$(first 'usr/lib/*/libc.so.6' 'lib/*/libc.so.6')
libraries=$(dirname "$libc")
loader=$(first "${libraries#"$root"/}/ld-linux*.so.*")
help=$(first usr/share/mariadb/fill_help_tables.sql usr/share/mysql/fill_help_tables.sql)
share=$(dirname "$help")
plugin=$(first 'usr/lib/mysql/plugin/handlersocket.so' 'usr/lib/*/mariadb*/plugin/handlersocket.so')
run="exec '$loader' --library-path '$libraries:$root/usr/lib/$(basename "$libraries")'"

for program in bin/my_print_defaults bin/resolveip; do
    printf '#!/bin/sh\n%s "%s" "$@"\n' "$run" "$root/usr/$program" >"$to/$program"
done
cat >"$to/bin/mariadbd" <<END
#!/bin/sh
# Options that name option files must stay in front.
case "\${1:-}" in --defaults-file=* | --defaults-extra-file=* | --no-defaults) first=\$1; shift ;; *) first= ;; esac
$run '$root/usr/sbin/mariadbd' \${first:+"\$first"} --lc-messages-dir='$share' --character-sets-dir='$share/charsets' \\
    --plugin-dir='$(dirname "$plugin")' "\$@"
END
cat >"$to/bin/mariadb-install-db" <<END
#!/bin/sh
case "\${1:-}" in --no-defaults) first=\$1; shift ;; *) first= ;; esac
exec sh '$root/usr/bin/mariadb-install-db' \$first --basedir='$to' "\$@"
END
chmod +x "$to"/bin/*
ln -sf mariadbd "$to/bin/mysqld" # older installers look for this name, newer ones in this folder
ln -sfn bin "$to/sbin"
ln -sfn "$share" "$to/share/$(basename "$share")"
"$to/bin/mariadbd" --no-defaults --version
