# Sourced by tools/demo and tools/test: makes .venv and installs into it what the caller needs.
# shellcheck shell=sh

edge_fail() {
  echo "$1" >&2
  exit 1
}

# edge_venv EXTRAS [DIRECTORY]: a virtual environment, .venv unless named, with this checkout and the named extras; cheap
# when up to date
edge_venv() {
  venv=${2:-.venv}
  python=${PYTHON:-python3}
  command -v "$python" >/dev/null 2>&1 || edge_fail "python3 is missing: sudo apt-get install -y python3 python3-venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || edge_fail "Python 3.11 or newer is needed, $python is $("$python" --version 2>&1)"
  if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" 2>/dev/null \
      || { rm -rf "$venv"; edge_fail "python3 has no venv module: sudo apt-get install -y python3-venv"; }
  fi
  stamp="$venv/.installed-$(echo "$1" | tr ',' '-')"
  want=$(cksum pyproject.toml)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "installing edge-runtime[$1] into $venv (about 500 MB, once)" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$1]" >&2 \
      || edge_fail "installation failed; the lines above say why"
    echo "$want" >"$stamp"
  fi
}
