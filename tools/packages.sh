# packages.sh - read by run.sh and test.sh: installs Debian or Ubuntu packages that are missing,
# configures, and keeps quiet what went well. POSIX sh has no local variables, hence the prefixes.

# shellcheck shell=sh disable=SC2034

# What building needs. ca-certificates is what kiln-download trusts.
build_packages="gcc libc6-dev cmake ninja-build pkg-config libjpeg-dev libpng-dev libjansson-dev \
libssl-dev libdnnl-dev libcurl4-openssl-dev libarchive-dev ca-certificates"

# install_packages NAME... - asks dpkg, and calls apt only for what is not there.
install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian or Ubuntu; what Kiln needs is called there: $*" >&2
        return 0 # CMake will name what it does not find
    fi
    missing=
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
        [ "$state" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0

    echo "Installing:$missing" >&2
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
        if ! command -v sudo >/dev/null; then
            echo "Only root may install, and there is no sudo. As root:" >&2
            echo "    apt-get install$missing" >&2
            return 1
        fi
    fi
    # shellcheck disable=SC2086 # a list
    $as_root apt-get -qq update >&2 &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
            install $missing >&2
}

# quietly LOG COMMAND... - output goes to LOG, and to the screen only after a failure.
quietly() {
    q_log=$1
    shift
    if ! "$@" >"$q_log" 2>&1; then
        tail -n 40 "$q_log" >&2
        echo "failed: $* (all of it: $q_log)" >&2
        return 1
    fi
}

# configure PRESET FOLDER OPTION... - runs cmake, unless FOLDER is set up in this place already with
# these -DNAME=VALUE options.
configure() {
    c_preset=$1
    c_folder=$2
    shift 2
    c_cache=$c_folder/CMakeCache.txt
    c_fresh=--fresh
    if grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" "$c_cache" 2>/dev/null; then
        c_fresh=
        c_same=yes
        for c_option in "$@"; do
            c_setting=${c_option#-D}
            grep -qE "^${c_setting%%=*}:[A-Z]+=${c_setting#*=}\$" "$c_cache" || c_same=no
        done
        [ $c_same = no ] || return 0
    fi
    mkdir -p "$c_folder"
    # shellcheck disable=SC2086 # --fresh or nothing
    quietly "$c_folder/configure.log" cmake $c_fresh --preset "$c_preset" "$@"
}
