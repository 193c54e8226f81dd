# Installs the Debian packages that it is given, as root. Their services start neither now nor with
# the system: nobody asked for an nginx on port 80. What it changes for this is undone, however it
# ends.
set -eu

# Another root, for the test of this script.
root=${INSTALL_ROOT:-}
policy=$root/usr/sbin/policy-rc.d
kept=$policy.kept-by-daemun
units=$root/etc/systemd/system
# What Debian's packages have enabled; systemd's own units are none of these.
by_packages=$root/var/lib/systemd/deb-systemd-helper-enabled

start_with_the_system() {
    for link in "$root"/etc/rc[2345].d/S* "$units"/*.wants/*; do
        case $link in
        *'*') ;;
        */rc?.d/*) echo "script/${link##*/S??}" ;;
        *) echo "unit${link#"$units"}" ;;
        esac
    done | sort -u
}

forbid_starts() {
    # One that was there is the machine's own, unless a run that was killed left it.
    if [ -e "$policy" ] && [ ! -e "$kept" ] && ! grep -q 'cargo xtask' "$policy"; then
        mv "$policy" "$kept"
    fi
    mkdir -p "${policy%/*}"
    printf '#!/bin/sh\n# Of "cargo xtask test", while it installs packages.\nexit 101\n' > "$policy.new"
    chmod 755 "$policy.new"
    mv "$policy.new" "$policy"
}

undo() {
    for service in $(start_with_the_system); do
        case " $before " in
        *" $service "*) continue ;;
        esac
        case $service in
        script/*) update-rc.d "${service#*/}" disable || true ;;
        unit/*)
            if [ -e "$by_packages/${service#*/}" ]; then
                rm -f "$units/${service#*/}"
            fi
            ;;
        esac
    done
    rm -f "$policy" "$policy.new"
    if [ -e "$kept" ]; then
        mv "$kept" "$policy"
    fi
}

before=$(start_with_the_system | tr '\n' ' ')
trap undo EXIT
trap 'exit 130' HUP INT TERM
forbid_starts
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet </dev/null
apt-get install --yes --quiet --no-install-recommends \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null
