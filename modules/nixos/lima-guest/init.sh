# Runs as root at every boot, with CIDATA set to the mounted disk of the host.
# Values in the .env files are plain text up to the end of the line and may hold spaces: they are read, never sourced.
set -euo pipefail

# A test gives another root.
keys=${GUEST_ROOT:-}/etc/ssh/authorized_keys.d
run=${GUEST_ROOT:-}/run

load() {
  local line
  while IFS= read -r line; do
    if [[ $line == *=* ]]; then
      export "${line?}"
    fi
  done <"$1"
}

load "$CIDATA/lima.env"
if [[ -e $CIDATA/param.env ]]; then
  load "$CIDATA/param.env"
fi

# `user-data` is cloud-init's YAML. From here on only its JSON is read.
data=$(yq -o=json '.' "$CIDATA/user-data")
ask() {
  jq -r "$1" <<<"$data"
}

user=$LIMA_CIDATA_USER
home=${LIMA_CIDATA_HOME:-$(ask '.users[0].homedir // empty')}
home=${home:-/home/$user.guest}

if ! id -u "$user" >/dev/null 2>&1; then
  useradd --uid "$LIMA_CIDATA_UID" --home-dir "$home" --create-home \
    --shell /run/current-system/sw/bin/bash "$user"
fi
usermod --append --groups wheel "$user"

# sshd reads these as the user.
install -d -m 0755 "$keys"
ask '.users[0]["ssh-authorized-keys"] // [] | .[]' >"$keys/$user.new"
chmod 0644 "$keys/$user.new"
mv "$keys/$user.new" "$keys/$user"

# Lima 2.1 compares these files with the instance ID of this boot, older ones with the whole meta-data.
signal() {
  if [[ -n ${LIMA_CIDATA_IID:-} ]]; then
    printf '%s\n' "$LIMA_CIDATA_IID" >"$1"
  else
    cp "$CIDATA/meta-data" "$1"
  fi
}
signal "$run/lima-ssh-ready"

ask '.mounts // [] | .[] | .[:4] | @tsv' | while IFS=$'\t' read -r tag point type options; do
  mkdir -p "$point"
  if ! mountpoint -q "$point"; then
    mount -t "$type" -o "$options" "$tag" "$point" || echo "not mounted: $tag on $point" >&2
  fi
done

# Scripts of the host are written for other distributions: one that fails is reported and does not end the boot.
if [[ -d $CIDATA/provision.system ]]; then
  for script in "$CIDATA"/provision.system/*; do
    bash "$script" || echo "failed: $script" >&2
  done
fi
if [[ -d $CIDATA/provision.user ]]; then
  for script in "$CIDATA"/provision.user/*; do
    # The disk is root's alone, so the script goes in by standard input.
    runuser --login "$user" --command 'exec bash -s' <"$script" || echo "failed: $script as $user" >&2
  done
fi

signal "$run/lima-boot-done"
