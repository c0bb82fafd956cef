#!/bin/sh
# Installs tok @VERSION@ on Linux: fetches the program for this machine, compares its checksum with the one that stands
# here, and unpacks it into ~/.local, or --prefix DIR. --uninstall removes it. --url URL fetches from another place.
set -eu

fail() {
  echo "install: $*" >&2
  exit 1
}

fetch() { # address file
  if command -v curl >/dev/null; then
    curl -fsSL --retry 3 -o "$2" "$1"
  elif command -v wget >/dev/null; then
    wget -q -O "$2" "$1"
  else
    fail "curl or wget is needed"
  fi
}

sum_of() {
  if command -v sha256sum >/dev/null; then
    sha256sum "$1"
  elif command -v shasum >/dev/null; then
    shasum -a 256 "$1"
  else
    fail "sha256sum is needed"
  fi
}

# The whole file is read before any of it is run: half a download does nothing.
main() {
  prefix=${HOME:?HOME is not set}/.local
  url=@URL@
  uninstall=
  while [ $# -gt 0 ]; do
    case "$1" in
      --prefix) prefix=${2:?--prefix needs a folder}; shift 2 ;;
      --url) url=${2:?--url needs an address}; shift 2 ;;
      --uninstall) uninstall=1; shift ;;
      *) echo "usage: install.sh [--prefix DIR] [--url URL] [--uninstall]" >&2; exit 2 ;;
    esac
  done

  list=$prefix/share/tok/files
  if [ -n "$uninstall" ]; then
    [ -f "$list" ] || fail "tok was not installed in $prefix by this script"
    while read -r file; do rm -f "$prefix/$file"; done <"$list"
    rm -f "$list"
    rmdir "$prefix/share/tok" 2>/dev/null || true
    echo "tok is removed from $prefix; its config, tokens and stored secrets are still there"
    exit
  fi

  case "$(uname -s) $(uname -m)" in
    "Linux x86_64") machine=x86_64 expected=@SHA256_X86_64@ ;;
    "Linux aarch64" | "Linux arm64") machine=aarch64 expected=@SHA256_AARCH64@ ;;
    *) fail "there is no program for $(uname -sm): install Rust, then build tok from source" ;;
  esac
  name=tok-@VERSION@-$machine-linux
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  trap 'exit 130' INT TERM HUP

  fetch "$url/$name.tar.gz" "$folder/archive" || fail "$url/$name.tar.gz could not be fetched"
  found=$(sum_of "$folder/archive")
  [ "${found%% *}" = "$expected" ] || fail "the checksum of $name.tar.gz is ${found%% *} and should be $expected; nothing was installed"

  mkdir "$folder/new"
  tar -xzf "$folder/archive" -C "$folder/new"
  # Files that an older version had and this one has not.
  if [ -f "$list" ]; then
    while read -r file; do [ -e "$folder/new/$name/$file" ] || rm -f "$prefix/$file"; done <"$list"
  fi
  mkdir -p "$prefix/share/tok"
  (cd "$folder/new/$name" && find bin share -type f) >"$list"
  while read -r file; do
    mkdir -p "$prefix/${file%/*}"
    # A running tok keeps its file: the new one takes the name.
    cp -p "$folder/new/$name/$file" "$prefix/$file.new" && mv -f "$prefix/$file.new" "$prefix/$file"
  done <"$list"

  echo "tok @VERSION@ is installed in $prefix/bin"
  case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) echo "add it to your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
  esac
}

main "$@"
