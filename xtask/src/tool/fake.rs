//! Fake programs for the tests of this folder: small scripts in a folder of their own, and a fake Go.
//! Nothing here is part of the binary.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};

use super::Toolbox;
use crate::base::ui::Ui;

/// A Go that is new enough.
pub(super) const GO: &str = "go version go1.26.8 linux/amd64";

/// A folder with a `bin` that is the whole PATH, and a cache.
pub(super) struct Fake {
    folder: tempfile::TempDir,
}

/// What the scripts themselves need.
pub(super) fn environment() -> BTreeMap<OsString, OsString> {
    [("PATH", "/usr/bin:/bin")]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

/// Whether a killed process is gone, or only waits to be reaped. The kernel may take a moment to kill it.
pub(super) fn goes_away(pid: &str) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(10) {
        if !lives(pid) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn lives(pid: &str) -> bool {
    match fs_err::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.contains(") Z "),
        // Where there is no /proc, signal 0 asks.
        Err(_) => pid
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| cfg!(not(target_os = "linux")) && rustix::process::test_kill_process(pid).is_ok()),
    }
}

impl Fake {
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tool cache 'q' ").tempdir().unwrap();
        let fake = Self { folder };
        fs_err::create_dir(fake.bin()).unwrap();
        fake
    }

    pub(super) fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    pub(super) fn bin(&self) -> Utf8PathBuf {
        self.root().join("bin")
    }

    pub(super) fn cache(&self) -> Utf8PathBuf {
        self.root().join("cache")
    }

    /// What the fake Go wrote down, a line a call.
    pub(super) fn calls(&self) -> Vec<String> {
        let text = fs_err::read_to_string(self.root().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Calls that built something.
    pub(super) fn builds(&self) -> Vec<String> {
        self.calls()
            .into_iter()
            .filter(|call| call.starts_with("build "))
            .collect()
    }

    /// A program on PATH.
    pub(super) fn program(&self, name: &str, body: &str) -> Utf8PathBuf {
        write_program(&self.bin().join(name), body)
    }

    /// A program elsewhere.
    pub(super) fn elsewhere(&self, name: &str, body: &str) -> Utf8PathBuf {
        let folder = self.root().join("elsewhere");
        fs_err::create_dir_all(&folder).unwrap();
        write_program(&folder.join(name), body)
    }

    /// A Go that writes its calls down and builds scripts that answer as the real programs do. `before`
    /// runs at the start of each build, with `$name` set to the program.
    pub(super) fn go(&self, version: &str, before: &str) -> Utf8PathBuf {
        let root = self.root();
        // The quotes in the folder's name are part of the test.
        let quoted = shell_words::quote(root.as_str()).into_owned();
        self.program(
            "go",
            &format!(
                r#"root={quoted}
case "$1" in
version) echo '{version}' ;;
env) cat "$root/goenv" 2>/dev/null || echo '{{"GOPROXY":"https://proxy.invalid","GOCACHE":"/c","GOMODCACHE":"/m"}}' ;;
build)
  while [ $# -gt 0 ]; do
    if [ "$1" = -o ]; then out=$2; fi
    last=$1; shift
  done
  name=${{out##*/}}
  echo "build $name $last" >>"$root/calls"
  env | sort >"$root/environment"
  cp go.mod go.sum "$root/"
  {before}
  case "$name" in
  kubectl) answer='{{"clientVersion":{{"gitVersion":"v1.35.4"}}}}' ;;
  kube-*) answer='Kubernetes v1.35.4' ;;
  etcd) answer='etcd Version: 3.6.15' ;;
  kwok*) answer="$name version v0.8.0 go1.26.8 (linux/amd64)" ;;
  kluctl) answer=2.22.1 ;;
  age*) answer=v1.3.1 ;;
  kubeconform) answer=v0.7.0 ;;
  *) answer=1.0.0 ;;
  esac
  printf '#!/bin/sh\necho '"'%s'"'\n' "$answer" >"$out"
  chmod 755 "$out" ;;
esac"#
            ),
        )
    }

    pub(super) fn toolbox(&self, variables: &[(&str, &str)]) -> Toolbox {
        self.toolbox_for("1.35.4", variables, &Arc::new(AtomicBool::new(false)))
    }

    pub(super) fn toolbox_for(
        &self,
        kubernetes: &str,
        variables: &[(&str, &str)],
        interrupted: &Arc<AtomicBool>,
    ) -> Toolbox {
        let mut environment = environment();
        environment.insert("PATH".into(), self.bin().into());
        environment.insert("XTASK_TOOL_CACHE".into(), self.cache().into());
        for (name, value) in variables {
            environment.insert((*name).into(), (*value).into());
        }
        Toolbox::with_environment(&Ui::plain(), environment, kubernetes, interrupted)
    }
}

fn write_program(path: &Utf8Path, body: &str) -> Utf8PathBuf {
    // PATH of the tests has none of the programs that scripts use, so each script says where those are.
    fs_err::write(path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\nexport PATH\n{body}\n")).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}
