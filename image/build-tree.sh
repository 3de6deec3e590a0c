#!/bin/sh
# What the image has at /opt/tiergate, built in a folder: `build-tree.sh FOLDER`.
#
# The Dockerfile and `make image-tree` both call this, so that what the tests start is what the image
# starts. Everything that is downloaded is checked against a hash: what runs by requirements.lock,
# what only builds by image/build.lock. PYTHON names the interpreter; it needs pip 22.3 or newer.
set -eu

tree=${1:?a folder to build in}
home=/opt/tiergate
source=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
umask 022

# The binary packages of the lock were chosen for this one.
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "build-tree.sh: the image needs CPython 3.11, $python is another" >&2
  exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pip works from outside, into environments that have none themselves.
pip() {
  into=$1
  shift
  "$python" -m pip --python "$into/bin/python" --quiet --no-cache-dir --disable-pip-version-check "$@"
}
locked="install --require-hashes --no-deps --only-binary :all: --no-compile"

"$python" -m venv --without-pip "$work/tools"
# shellcheck disable=SC2086  # words, not one word
pip "$work/tools" $locked --requirement "$source/image/build.lock"
pip "$work/tools" wheel --no-index --no-deps --no-build-isolation --wheel-dir "$work" "$source"

"$python" -m venv --clear --without-pip "$tree"
tree=$(cd "$tree" && pwd)
# shellcheck disable=SC2086
pip "$tree" $locked --requirement "$source/requirements.lock"
pip "$tree" install --no-index --no-deps --no-compile --find-links "$work" tiergate
pip "$tree" check

# One command and its interpreter; the path in its first line is the image's.
find "$tree/bin" -type f ! -name tiergate -delete
sed -i "s|$tree/|$home/|g" "$tree/bin/tiergate"
# Nothing can be compiled on a read-only root, so it is now. Never compared with its source: layers
# of images do not keep times. All of it (-f): what pip has run meanwhile may have been compiled.
"$python" -m compileall -q -f -j 0 -s "$tree" -p "$home" --invalidation-mode unchecked-hash "$tree/lib"
chmod -R u=rwX,go=rX "$tree"
