#!/usr/bin/env bash
# Build the image with the engine that is there, without root if it is podman or buildah:
#     build-image.sh [TAG [OPTION…]]
set -euo pipefail
tag=${1:-personalize-gateway}
cd "$(dirname "$0")/.."
options=(--file deploy/Dockerfile --tag "$tag" "${@:2}" .)

for engine in buildah podman; do
    if command -v "$engine" >/dev/null; then
        # This isolation works in containers too. Only Docker's format has a HEALTHCHECK.
        exec "$engine" build --isolation chroot --format docker \
            --ignorefile deploy/Dockerfile.dockerignore "${options[@]}"
    fi
done
if command -v docker >/dev/null; then
    exec docker build "${options[@]}"
fi
echo "build-image.sh: no engine found: install podman, buildah or docker" >&2
exit 1
