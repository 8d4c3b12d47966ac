# Runs as root beside the host's agent, with CIDATA set to the mounted disk of the host.
# The options differ between versions of the agent: what it does not know is not passed.
set -euo pipefail

while IFS= read -r line; do
  if [[ $line == LIMA_CIDATA_*=* ]]; then
    export "${line?}"
  fi
done <"$CIDATA/lima.env"

agent=$CIDATA/lima-guestagent
known=$("$agent" daemon --help 2>&1)
options=()
option() {
  if [[ -n $2 ]] && grep -q -e "$1" <<<"$known"; then
    options+=("$1" "$2")
  fi
}

# Port 0 stands for a Unix socket, which then belongs to the user.
option --vsock-port "${LIMA_CIDATA_VSOCK_PORT:-}"
option --virtio-port "${LIMA_CIDATA_VIRTIO_PORT:-}"
option --socket-owner "${LIMA_CIDATA_UID:-}"

exec "$agent" daemon "${options[@]}"
