#!/usr/bin/env bash
# Make autograder.zip for Gradescope, from a checkout of the course:   docs/instructors/templates/gradescope/make_zip.sh
# Hidden checks go into tests/exercises/hidden/; whatever is committed there is in the zip, and nobody but you sees it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(git -C "$here" rev-parse --show-toplevel)
out=$(realpath -m "${1:-autograder.zip}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$top" archive --format=tar.gz -o "$work/course.tar.gz" HEAD
cp "$here/setup.sh" "$here/run_autograder" "$work/"
chmod 755 "$work/setup.sh" "$work/run_autograder"
rm -f "$out"
(cd "$work" && python3 -m zipfile -c "$out" setup.sh run_autograder course.tar.gz)
echo "$out"
