#!/bin/sh
# Builds the images named on the command line (job, service; both without a name) with podman or docker.
#
#   ENGINE         podman or docker; the first that is there, unless set
#   BASE           the image that ours are built on
#   TAG            name of the image (of one image only); NAME:VERSION-COMMIT unless set
#   BUILD_OPTIONS  more options of `build`
#   UV             the program uv, which reads the lock file and builds the wheel
set -eu
cd "$(dirname "$0")/../.."
engine=${ENGINE:-$(command -v podman || command -v docker || { echo "neither podman nor docker is here" >&2; exit 1; })}
base=${BASE:-docker.io/library/debian:bookworm-slim}
uv=${UV:-.tools/bin/uv}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
commit=$(git rev-parse --short=8 HEAD)
[ -z "$(git status --porcelain -- src uv.lock containers/images)" ] || commit="$commit-changed"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

export_lock() {
    "$uv" export --quiet --frozen --no-dev --no-emit-project --no-header "$@"
}

for name in ${*:-job service}; do
    case $name in job) called=snakeway-job ;; *) called=snakeway ;; esac
    rm -rf "$context"/*
    "$uv" build --quiet --wheel --out-dir "$context" .
    case $name in
        # What a job needs: its executor plugin stays outside, for each plugin lengthens every start.
        job) export_lock --extra aws --prune snakemake-executor-plugin-aws-batch >"$context/requirements.txt" ;;
        service) export_lock --extra server --extra slurm --extra aws >"$context/requirements.txt"
                 cp -r profiles workflows "$context/" ;;
        *) echo "there is no image called $name" >&2; exit 1 ;;
    esac
    # shellcheck disable=SC2086
    "$engine" build ${BUILD_OPTIONS:-} --build-arg "BASE=$base" --build-arg "VERSION=$version" \
        --build-arg "COMMIT=$commit" --tag "${TAG:-$called:$version-$commit}" \
        --file "containers/images/$name/Dockerfile" "$context"
done
