# What runs in the cache's pod: sshd and a Nix store on the volume. nix-csi evaluates this file on the node; nothing here is evaluated with the manifests.
{
  pkgs ? import <nixpkgs> { },
}:
let
  users = pkgs.runCommand "users" { } ''
    mkdir -p $out/etc
    echo 'root:x:0:0:root:/var/empty:${pkgs.runtimeShell}' > $out/etc/passwd
    echo 'sshd:x:74:74:sshd:/var/empty:${pkgs.coreutils}/bin/false' >> $out/etc/passwd
    echo 'nobody:x:65534:65534:nobody:/var/empty:${pkgs.coreutils}/bin/false' >> $out/etc/passwd
    printf 'root:x:0:\nsshd:x:74:\nnobody:x:65534:\n' > $out/etc/group
  '';

  # The init container sees the CSI volume at /nix and the cache's volume at /nix-volume.
  populate = pkgs.writeShellScriptBin "cache-populate" ''
    set -eu
    export PATH=${
      pkgs.lib.makeBinPath [
        pkgs.coreutils
        pkgs.lix
        pkgs.rsync
      ]
    }
    cp -r --no-preserve=mode ${users}/etc/. /etc/
    rsync --archive --ignore-existing --one-file-system /nix/ /nix-volume/
    nix-store --option store local --dump-db $(nix-store --option store local --query --requisites /nix/var/result) \
      | NIX_STATE_DIR=/nix-volume/var/nix nix-store --option store local --load-db
    # A link made anew, so that a changed environment takes effect.
    ln -sfn "$(readlink -f /nix/var/result)" /nix-volume/var/result
    mkdir -p /nix-volume/var/nix/gcroots/cache
    ln -sfn /nix/var/result /nix-volume/var/nix/gcroots/cache/result
  '';

  serve = pkgs.writeShellScriptBin "cache-serve" ''
    set -eu
    export PATH=${
      pkgs.lib.makeBinPath [
        pkgs.coreutils
        pkgs.lix
        pkgs.openssh
      ]
    }
    cp -r --no-preserve=mode ${users}/etc/. /etc/
    mkdir -p /var/empty /tmp /run/keys
    # sshd refuses a key that others can read, and a Secret's files belong to others too.
    install -m 0600 /secrets/id_ed25519 /run/keys/id_ed25519
    ssh-keygen -y -f /run/keys/id_ed25519 > /run/keys/authorized_keys
    nix-daemon --daemon --option store local &
    exec ${pkgs.openssh}/bin/sshd -D -e \
      -o HostKey=/run/keys/id_ed25519 \
      -o AuthorizedKeysFile=/run/keys/authorized_keys \
      -o PasswordAuthentication=no \
      -o KbdInteractiveAuthentication=no \
      -o PermitRootLogin=prohibit-password \
      -o StrictModes=no \
      -o SetEnv=PATH=/nix/var/result/bin
  '';
in
pkgs.buildEnv {
  name = "nix-csi-cache";
  paths = [
    pkgs.coreutils
    pkgs.lix
    pkgs.openssh
    populate
    serve
  ];
}
