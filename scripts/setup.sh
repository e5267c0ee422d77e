# shellcheck shell=bash
# What ./check and ./sandbox need on the machine. Sourced by both; installs only what is missing and
# keeps everything that it builds in one directory, ${KEYWARD_CACHE:-$HOME/.cache/keyward}.

cache=${KEYWARD_CACHE:-$HOME/.cache/keyward}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
mkdir -p "$cache"

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Debian package | how to see that it is there (on any system) | why.
needed_always='
gcc|command -v cc|links Rust programs; compiles libsecp256k1 and the assembly of the TLS library
libc6-dev|test -e /usr/include/stdio.h|headers of the C library for the same
git|command -v git|lists the files of the repository for the tidy tests
postgresql|ls /usr/lib/postgresql/*/bin/initdb|the books are tested on clusters of their own, never on the one that Debian starts
iproute2|command -v ip|brings up a network interface while a ceremony has secrets
util-linux|command -v unshare|gives tests a network namespace of their own
ghostscript|command -v gs|renders the sheets of recovery components
zbar-tools|command -v zbarimg|reads the QR codes on them
age|command -v age|opens the encrypted files of components, and writes such
tmux|command -v tmux|drives the screens of a ceremony
swtpm|command -v swtpm|stands for the TPM that counts what a co-signer writes
poppler-utils|command -v pdftoppm|renders reports and runbooks
python3|command -v python3|recovery without Keyward, and other implementations of our formats
python3-venv|python3 -c "import ensurepip, venv"|keeps the Python packages of the tests apart from those of the system
'
# What tests use to check our formats with programs of others, pinned: name, version, and the hash of the one file
# that is taken of it (sources or a wheel without machine code, so that it fits every machine).
python_packages='
attrs==26.1.0 --hash=sha256:c647aa4a12dfbad9333ca4e71fe62ddc36f4e63b2d260a37a8b83d2f043ac309
embit==0.8.0 --hash=sha256:8bf4b10073c67400370ce523fb16f035fe759f6fdd987c579bdcc268d75ed770
jsonschema==4.17.3 --hash=sha256:a870ad254da1a8ca84b6a2905cac29d265f805acc57af304784962a2aa6508f6
pyrsistent==0.20.0 --hash=sha256:c55acc4733aad6560a7f5f818466631f07efc001fd023f34a6c203f8b6df0f0b
setuptools==84.2.1 --hash=sha256:ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2
shamir-mnemonic==0.3.0 --hash=sha256:188c6b5bd00d5e756e12e2b186c3cb7c98ff7ff44df608d4c1d2077f6b6e730f
'
needed_for_bitcoind='
g++|command -v c++|compiles Bitcoin Core
make|command -v make|runs that build
cmake|command -v cmake|configures that build
libboost-dev|test -e /usr/include/boost/multi_index_container.hpp|headers that Bitcoin Core compiles against
'

# need LIST: the packages of LIST that are not there.
need() {
    local package probe why missing=()
    while IFS='|' read -r package probe why; do
        [ -n "$package" ] || continue
        eval "$probe" >/dev/null 2>&1 && continue
        say "missing: $package ($why)"
        missing+=("$package")
    done <<<"$1"
    [ ${#missing[@]} -eq 0 ] && return

    local command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    command -v apt-get >/dev/null || fail "install what is missing (the names are Debian's) and start again"
    [ "$(id -u)" -eq 0 ] || fail "run this as root and start again:  $command"
    say "installing: ${missing[*]}"
    if ! DEBIAN_FRONTEND=noninteractive sh -c "$command" >"$cache/install.log" 2>&1 </dev/null; then
        tail -n 3 "$cache/install.log" >&2
        fail "could not install ${missing[*]}; the whole output is in $cache/install.log"
    fi
}

need_rust() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or later (https://rustup.rs) and start again"
}

# The source of Bitcoin Core as the crate libbitcoinkernel-sys carries it; cargo checks its checksum.
core_crate=libbitcoinkernel-sys
core_version=0.4.1
core_source() {
    local manifest=$cache/bitcoin/source/Cargo.toml
    mkdir -p "${manifest%/*}/src"
    : >"${manifest%/*}/src/lib.rs"
    printf '[package]\nname = "source"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n%s = "=%s"\n\n[workspace]\n' \
        "$core_crate" "$core_version" >"$manifest"
    cargo fetch --quiet --manifest-path "$manifest" >&2 || return 1
    cargo metadata --quiet --format-version 1 --offline --manifest-path "$manifest" |
        grep -o "\"manifest_path\":\"[^\"]*/$core_crate-$core_version/Cargo.toml\"" |
        sed 's/^"manifest_path":"//; s/Cargo.toml"$/bitcoin/'
}

# build_bitcoind FILE: builds it once; stopped half-way it goes on where it was.
build_bitcoind() {
    local source build=$cache/bitcoin/build log=$cache/bitcoin/build.log jobs started job percent
    jobs=$(getconf _NPROCESSORS_ONLN)
    say "bitcoind: not on this machine (BITCOIND, PATH, cache); building Bitcoin Core once"
    say "bitcoind: about 20 minutes of one processor, $jobs here; log: $log"
    need "$needed_for_bitcoind"
    source=$(core_source) && [ -e "$source/CMakeLists.txt" ] ||
        fail "cannot fetch the crate $core_crate $core_version with the source of Bitcoin Core; is the registry reachable?"
    cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_DAEMON=ON -DBUILD_CLI=ON -DBUILD_TESTS=OFF -DBUILD_BENCH=OFF -DBUILD_TX=OFF -DBUILD_UTIL=OFF \
        -DBUILD_BITCOIN_BIN=OFF -DENABLE_WALLET=OFF -DENABLE_EXTERNAL_SIGNER=OFF -DENABLE_IPC=OFF \
        -DWITH_EMBEDDED_ASMAP=OFF -DWITH_ZMQ=OFF >"$log" 2>&1 </dev/null ||
        fail "cannot configure Bitcoin Core: $(grep -m 1 -A 2 'CMake Error' "$log" | tr '\n' ' ')(all of it: $log)"

    started=$SECONDS
    set -m
    make -C "$build" -j"$jobs" bitcoind bitcoin-cli >>"$log" 2>&1 </dev/null &
    job=$!
    set +m
    # The build is a process group: what was started here ends here, and nothing else.
    # shellcheck disable=SC2064
    trap "kill -- -$job 2>/dev/null; exit 130" INT TERM
    while kill -0 "$job" 2>/dev/null; do
        sleep 5
        [ $(((SECONDS - started) % 30)) -lt 5 ] || continue
        percent=$(grep -o '^\[ *[0-9]*%\]' "$log" | tail -n 1 | tr -dc 0-9) || true
        say "bitcoind: ${percent:-0} % after $((SECONDS - started)) s"
    done
    wait "$job" || fail "cannot build Bitcoin Core; the reason is at the end of $log; starting again goes on from there"
    trap - INT TERM
    mkdir -p "${1%/*}"
    cp "$build/bin/bitcoin-cli" "${1%/*}/" && cp "$build/bin/bitcoind" "$1.new" && mv "$1.new" "$1"
    rm -rf "$build"
    say "bitcoind: built in $((SECONDS - started)) s, kept as $1"
}

# Exports BITCOIND: what it names already, else from PATH, else the one built here.
need_bitcoind() {
    local kept=$cache/bitcoin/bin/bitcoind
    if [ -z "${BITCOIND:-}" ]; then
        BITCOIND=$(command -v bitcoind || true)
        if [ -z "$BITCOIND" ]; then
            [ -x "$kept" ] || build_bitcoind "$kept"
            BITCOIND=$kept
        fi
    fi
    case $BITCOIND in /*) ;; *) fail "BITCOIND is $BITCOIND; give it as an absolute path" ;; esac
    "$BITCOIND" -version >/dev/null 2>&1 || fail "$BITCOIND does not run; set BITCOIND to a bitcoind that does, or unset it"
    export BITCOIND
}

# need_cargo_tool NAME VERSION: a cargo subcommand, built once into the cache.
need_cargo_tool() {
    local program=$cache/tools/bin/$1
    case $("$program" --version 2>/dev/null) in *" $2") return ;; esac
    say "$1 $2: building it once, some minutes"
    env -u CARGO_TARGET_DIR cargo install "$1" --version "$2" --locked --quiet --root "$cache/tools" </dev/null ||
        fail "cannot install $1 $2"
}

# Exports KEYWARD_PYTHON: a python with these packages. Their files lie in $cache/python/packages.
need_python_packages() {
    local home=$cache/python list=$cache/python/requirements.txt log=$cache/python/install.log
    export KEYWARD_PYTHON=$home/environment/bin/python
    # Written last: whoever finds it finds everything.
    printf '%s' "$python_packages" | cmp -s - "$home/complete.txt" && "$KEYWARD_PYTHON" -c '' 2>/dev/null && return
    say "python: fetching the packages of the tests, once"
    rm -rf "$home"
    mkdir -p "$home"
    printf '%s' "$python_packages" >"$list"
    grep '^setuptools' "$list" >"$home/first.txt"
    # One package is source alone. It is built with the setuptools pinned here, not with whatever is newest.
    {
        python3 -m venv "$home/environment" &&
            python_pip install --require-hashes --no-deps -r "$home/first.txt" &&
            python_pip download --require-hashes --no-deps --no-build-isolation -d "$home/packages" -r "$list" &&
            python_pip install --require-hashes --no-deps --no-build-isolation --no-index --find-links "$home/packages" -r "$list"
    } >"$log" 2>&1 </dev/null || fail "cannot install the Python packages, is the package index reachable? The reason is at the end of $log"
    cp "$list" "$home/complete.txt"
}

python_pip() { "$KEYWARD_PYTHON" -m pip --disable-pip-version-check "$@"; }
