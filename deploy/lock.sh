#!/usr/bin/env bash
# Pins every package of the daemon with its hashes, and lists the packages in an SBOM. `make lock` runs it, with uv
# and cyclonedx-py in the PATH. PyTorch is installed from the index for a CUDA version: it is pinned by $TORCH, and the
# libraries that it brings are left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
echo "$TORCH" >"$temporary/torch.txt"

lock() { # lock FILE OPTION...: writes FILE with a first line that tells how to install from it
    local target=$1
    shift
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --constraint "$temporary/torch.txt" --output-file "$temporary/locked.txt" "$@" >/dev/null
    {
        echo "# Made by \`make lock\` for Python 3.11 and later."
        echo "# pip install --no-deps --require-hashes -r $target && pip install --no-deps ."
        # The lines of a package: its name and version, then its hashes.
        awk '/^[a-z]/ { kept = $0 !~ /^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/ } kept' "$temporary/locked.txt"
    } >"$target"
}

lock deploy/requirements-backend.txt --extra backend
lock deploy/requirements-void.txt --extra backend --extra void --extra gguf

# The hashes stay in the lock file, which the SBOM would repeat in hundreds of kilobytes.
{
    echo "$TORCH"
    sed -n 's/^\([a-z].*[^ \\]\) *\\*$/\1/p' deploy/requirements-void.txt
} >"$temporary/all.txt"
cyclonedx-py requirements "$temporary/all.txt" --pyproject pyproject.toml --output-reproducible \
    --output-file deploy/sbom.cdx.json 2>/dev/null
