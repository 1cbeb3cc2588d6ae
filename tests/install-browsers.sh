#!/usr/bin/env bash
# Install what the suite needs of Debian's packages, where it is missing; needs root or sudo then.
set -euo pipefail

packages=(
    chromium
    chromium-driver
    curl
    firefox-esr
    nginx-light
    openssl
    php-cli
    procps
    redis-server
    ruby
    strace
    systemd
    webkit2gtk-driver
    wrk
    xvfb
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null |
        grep --quiet 'ok installed' || missing+=("$package")
done
# These may come from elsewhere: Debian's npm would insist on Debian's nodejs.
for command in nodejs:node npm:npm; do
    command -v "${command#*:}" >/dev/null || missing+=("${command%:*}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id --user)" -eq 0 ] || as_root=(sudo)
echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get --quiet --quiet update
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get --quiet --quiet --yes \
    --no-install-recommends install "${missing[@]}" >/dev/null
