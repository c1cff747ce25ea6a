#!/usr/bin/env bash
# Brings this machine to where everything in the Makefile runs: programs from the system's package manager where
# they are missing (Debian and its relatives, as root or with sudo), and the virtual environment .venv with the
# tested Python packages. Run by `make setup`; safe to run again. Exit code 3: a program is missing and cannot be
# installed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { echo "odl set-up: $*"; }
fail() { say "$*" >&2; exit 3; }

# Prints the first Python that is new enough and able to make virtual environments; fails if there is none.
find_python() {
    local name
    for name in python3 python3.{11..15} /usr/bin/python3; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            echo "$name"
            return 0
        fi
    done
    return 1
}

# Prints an installed clang of release 14 or later, the tested one first; fails if there is none.
find_clang() {
    local name major
    for name in clang-22 clang clang-{30..14}; do
        major=$("$name" -dumpversion 2> /dev/null | cut -d. -f1) || continue
        if [ "${major:-0}" -ge 14 ]; then
            echo "$name"
            return 0
        fi
    done
    return 1
}

# Whether clang links a program with the sanitizers that the tests use; Debian packs their library by itself.
clang_sanitizes() {
    local clang program status=0
    clang=$(find_clang) || return 1
    program=$(mktemp)
    "$clang" -fsanitize=address,undefined -x c -o "$program" - <<< 'int main(void) { return 0; }' \
        2> /dev/null || status=1
    rm -f "$program"
    return "$status"
}

# Whether a clang and an lld of one release build programs for the simulated cluster.
builds_for_cluster() {
    local release
    for release in {40..18}; do
        if command -v "clang-$release" > /dev/null && command -v "ld.lld-$release" > /dev/null; then
            return 0
        fi
    done
    release=$(ld.lld --version 2> /dev/null | grep -oE 'LLD [0-9]+') || return 1
    [ "${release#LLD }" -ge 18 ] && [ "$(clang -dumpversion 2> /dev/null | cut -d. -f1)" = "${release#LLD }" ]
}

# Whether there is a QEMU that runs programs for standard RISC-V.
has_qemu() { command -v qemu-system-riscv32 > /dev/null; }

# Prints the Debian names of what this machine lacks, one a line, without the release number of clang.
missing_programs() {
    find_python > /dev/null || echo python3-venv
    command -v make > /dev/null || echo make
    command -v gcc > /dev/null || echo gcc
    command -v g++ > /dev/null || echo g++
    printf '#include <math.h>\n#include <stdint.h>\n' | gcc -E -x c - > /dev/null 2>&1 || echo libc6-dev
    find_clang > /dev/null || echo clang
    clang_sanitizes || echo libclang-rt-dev
    command -v espeak-ng > /dev/null || echo espeak-ng
}

# Prints the release of clang to install packages of: that of the clang here where it will do, else the tested one
# where apt has it, else the newest that apt has. $1: the oldest that will do.
clang_release() {
    local clang release candidates
    if clang=$(find_clang); then
        release=$("$clang" -dumpversion | cut -d. -f1)
        if [ "$release" -ge "$1" ]; then
            echo "$release"
            return 0
        fi
    fi
    candidates=$(apt-cache search --names-only '^clang-[0-9]+$' | grep -oE '^clang-[0-9]+' | cut -d- -f2)
    for release in 22 $(sort -rn <<< "$candidates"); do
        if [ "$release" -ge "$1" ] && grep -qx "$release" <<< "$candidates"; then
            echo "$release"
            return 0
        fi
    done
    return 1
}

# Installs what is named, as far as possible. `lld` stands for a clang and an lld for the simulated cluster.
install_programs() {
    local as_root=() name release packages=()
    if ! command -v apt-get > /dev/null; then
        say "no apt-get here to install with"
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo > /dev/null; then
            say "not root, and no sudo here to install with"
            return 0
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -q || say "apt-get update failed; going on with the package list at hand"
    for name in "$@"; do
        case $name in
            clang) release=$(clang_release 14) && packages+=("clang-$release") ;;
            libclang-rt-dev) release=$(clang_release 14) && packages+=("libclang-rt-$release-dev") ;;
            lld) release=$(clang_release 18) && packages+=("clang-$release" "lld-$release") ;;
            *) packages+=("$name") ;;
        esac || say "apt has no clang that is new enough"
    done
    [ "${#packages[@]}" -gt 0 ] || return 0
    say "installing with apt-get: ${packages[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}" ||
        say "apt-get could not install: ${packages[*]}"
}

mapfile -t missing < <(missing_programs)
builds_for_cluster || missing+=(lld)
has_qemu || missing+=(qemu-system-misc)
if [ "${#missing[@]}" -gt 0 ]; then
    install_programs "${missing[@]}"
    mapfile -t missing < <(missing_programs)
    [ "${#missing[@]}" -eq 0 ] ||
        fail "missing or too old: ${missing[*]} (Debian's names; python >= 3.11, clang >= 14). Install, then run make again."
fi
builds_for_cluster ||
    say "no clang and lld of one release >= 18: nothing can be built for the simulated cluster, its tests are skipped"
has_qemu || say "no qemu-system-riscv32: nothing runs for target qemu, its tests are skipped"

python=$(find_python)
say "$("$python" --version), $(find_clang), $(gcc --version | head -n 1)"
if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    say "making the virtual environment .venv"
    "$python" -m venv --clear .venv
fi

say "installing Python packages into .venv (a few minutes the first time; PyTorch is the large one)"
pip=(.venv/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt)
"${pip[@]}" setuptools
# The build uses the pinned setuptools just installed, hence no isolated build environment.
"${pip[@]}" --no-build-isolation --editable '.[dev,rtl,tune-cluster]'
say "done"
