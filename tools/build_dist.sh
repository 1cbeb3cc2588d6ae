#!/usr/bin/env bash
# Build wheel, sdist, npm package and SBOM into a folder: build_dist.sh VENV FOLDER
set -euo pipefail
bin=$(realpath "$1/bin")
mkdir -p "$2"
dist=$(realpath "$2")
cd "$(dirname "$0")/.."

"$bin/uv" build --quiet --out-dir "$dist"
rm -f "$dist/.gitignore"
(cd static && npm pack --silent --pack-destination "$dist" >/dev/null)

# The SBOM describes what the lock installs, with licences and dependencies.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$bin/uv" venv --quiet --python "$bin/python" "$scratch"
export VIRTUAL_ENV=$scratch
"$bin/uv" pip install --quiet --require-hashes --requirement requirements.lock
"$bin/uv" pip install --quiet --no-deps --no-index --find-links "$dist" personalize-gateway
"$bin/cyclonedx-py" environment --output-reproducible --output-format JSON \
    --output-file "$dist/personalize-gateway.cdx.json" "$scratch"
