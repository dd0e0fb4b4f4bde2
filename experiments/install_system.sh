#!/bin/sh
# Install the system packages that are absent; say what to do where that is not possible.
set -eu

needed=""
libraries=$(ls /usr/lib/*-linux-gnu/libLLVM.so.19.* /usr/lib/llvm-19/lib/libLLVM.so.19.* 2>/dev/null || true)
[ -n "$libraries${DOJO_LIBLLVM:-}" ] || needed="$needed libllvm19"
command -v "${DOJO_CLANG:-clang-19}" >/dev/null || needed="$needed clang-19"
command -v c++ >/dev/null || needed="$needed g++"
[ -n "$needed" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing:$needed. Install LLVM 19's shared library, clang 19 and a C++ linker with your package manager," >&2
    echo "or point DOJO_LIBLLVM and DOJO_CLANG at them, and run make again." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo="sudo"
else
    echo "missing:$needed. Run: sudo apt-get install --no-install-recommends$needed" >&2
    exit 1
fi
echo "installing$needed"
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $needed >/dev/null
