//! Builds tools with Go from a pinned module into the cache, once, whole or not at all.
//! It downloads nothing but through Go's own module proxy, and never touches the checkout.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::process::{self, Call, Silence};
use super::table::{Module, Program};
use super::{Found, Outcome, Toolbox, cache, find};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::lock_file::LockFile;
use crate::base::process::environment::listed;
use crate::base::text::{bytes, plural, seconds};
use crate::base::ui::Status;
use crate::command::Tool;

/// One program; the largest takes two minutes on 2 cores, so that this only ends what hangs.
const PROGRAM_LIMIT: Duration = Duration::from_secs(3600);

/// How long another builder of the same module is waited for.
const WAIT_LIMIT: Duration = Duration::from_secs(7200);

/// Settings of the person's Go that say where modules come from and where Go keeps things. All others would
/// change what is built, so they are left behind, also those in Go's own settings file.
const KEPT: [&str; 11] = [
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GONOPROXY",
    "GOPRIVATE",
    "GOINSECURE",
    "GOAUTH",
    "GOVCS",
    "GOCACHE",
    "GOMODCACHE",
    "GOPATH",
];

/// Parts of Go's own messages (as of 1.26), each with what to do. Only the hint hangs on them.
const TROUBLES: [(&str, &str); 10] = [
    (
        "no space left on device",
        "free some disk space, or set `XTASK_TOOL_CACHE`, `GOCACHE` and `GOMODCACHE` to folders on a larger disk",
    ),
    (
        "disk quota exceeded",
        "free some of your disk quota, or set `XTASK_TOOL_CACHE`, `GOCACHE` and `GOMODCACHE` to other folders",
    ),
    (
        "module lookup disabled by GOPROXY=off",
        "the module proxy is off: leave `--offline` out, or set `GOPROXY` to one that you may use, or provide the tool in another way",
    ),
    (
        "checksum mismatch",
        "what the proxy served is not what was reviewed: do not go on; look at `GOPROXY`, and at Go's module cache (`go clean -modcache`)",
    ),
    (
        "SECURITY ERROR",
        "what the proxy served is not what was reviewed: do not go on; look at `GOPROXY`, and at Go's module cache (`go clean -modcache`)",
    ),
    (
        "read-only file system",
        "set `GOCACHE` and `GOMODCACHE` to folders that can be written",
    ),
    (
        "permission denied",
        "set `GOCACHE` and `GOMODCACHE` to folders that can be written",
    ),
    (
        "no such host",
        "the module proxy cannot be reached: look at the network, `GOPROXY` and `HTTPS_PROXY`",
    ),
    (
        "dial tcp",
        "the module proxy cannot be reached: look at the network, `GOPROXY` and `HTTPS_PROXY`",
    ),
    (
        "signal: killed",
        "Go was killed, most often for lack of memory: 2 GiB must be free",
    ),
];

/// How many last lines of Go's output a failure shows.
const LAST_LINES: usize = 20;

/// Builds modules in turn (Go itself is parallel), saying beforehand what that costs.
pub(super) fn build(toolbox: &Toolbox, modules: &[&'static Module]) -> Result<()> {
    let Outcome::Found(go) = &toolbox.go().outcome else {
        return Err(Failure::preflight("`go` is not there to build tools with"));
    };
    let folder = toolbox.cache_folder()?;
    make_folder(&folder)?;
    announce(toolbox, modules, go, &folder);
    let environment = environment(toolbox, go, &folder)?;
    for (index, module) in modules.iter().enumerate() {
        let place = format!("{} of {}", index + 1, modules.len());
        let begun = Instant::now();
        let job = Job {
            toolbox,
            module,
            go,
            cache: &folder,
            environment: &environment,
            place: &place,
        };
        let made = job.run();
        toolbox.ui.clear_progress();
        match made? {
            Made::Here => toolbox.ui.status(
                Status::Done,
                format!(
                    "built {place}: {} {} {}",
                    module.name,
                    module.version,
                    seconds(begun.elapsed())
                ),
            ),
            Made::Elsewhere => toolbox.ui.status(
                Status::Fresh,
                format!(
                    "{place}: {} {} was built by another process",
                    module.name, module.version
                ),
            ),
        }
    }
    Ok(())
}

/// What building these modules is expected to take on this host.
pub(super) fn expected(modules: &[&'static Module]) -> Duration {
    // Measured on 2 cores. More than 16 do not help: links and downloads remain.
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(1, 16)) as u64;
    Duration::from_secs(modules.iter().map(|module| module.seconds).sum::<u64>() * 2 / cores)
}

/// Who made an entry.
enum Made {
    Here,
    Elsewhere,
}

/// The building of one module.
struct Job<'a> {
    toolbox: &'a Toolbox,
    module: &'static Module,
    go: &'a Found,
    cache: &'a Utf8Path,
    environment: &'a BTreeMap<OsString, OsString>,
    /// `2 of 6`.
    place: &'a str,
}

impl Job<'_> {
    fn run(&self) -> Result<Made> {
        // Held to the end of this function; the kernel lets go of it when this process dies.
        let lock = self.lock()?;
        if cache::entry(self.cache, self.module, Some(&self.go.says)).is_some() {
            return Ok(Made::Elsewhere);
        }
        self.sweep()?;
        let names: Vec<&str> = self
            .module
            .programs
            .iter()
            .map(|program| program.tool.program())
            .collect();
        self.toolbox.ui.status(
            Status::Building,
            format!(
                "{}: {} {} ({})",
                self.place,
                self.module.name,
                self.module.version,
                names.join(", ")
            ),
        );
        let half = self.half();
        let built = self.build_into(&half).and_then(|()| self.publish(&half));
        if built.is_err() {
            // The next builder sweeps what cannot be removed now.
            let _swept_later = remove(&half);
        }
        built?;
        drop(lock);
        Ok(Made::Here)
    }

    /// The folder that a build fills. It is this process's own: a Go that outlived a killed builder must not
    /// write into the next one's.
    fn half(&self) -> Utf8PathBuf {
        self.cache
            .join(format!("{}{}", cache::half_prefix(self.module), std::process::id()))
    }

    fn log(&self) -> Utf8PathBuf {
        self.cache.join(format!("{}.log", self.module.name))
    }

    fn build_into(&self, half: &Utf8Path) -> Result<()> {
        let source = half.join("source");
        for folder in [half, &source, &half.join("bin"), &half.join("temporary")] {
            make_folder(folder)?;
        }
        for (name, text) in [("go.mod", self.module.go_mod), ("go.sum", self.module.go_sum)] {
            fs_err::write(source.join(name), text).map_err(|error| stuck(error, self.cache))?;
        }
        let log = fs_err::File::create(self.log()).map_err(|error| stuck(error, self.cache))?;
        let mut environment = self.environment.clone();
        // Not /tmp: that may be tiny, and the links of one module need 400 MB there.
        environment.insert("GOTMPDIR".into(), half.join("temporary").into_os_string());
        let begun = Instant::now();
        for program in self.module.programs {
            self.compile(*program, half, &source, &log, &environment, begun)?;
            self.try_out(*program, half)?;
        }
        remove(&source)?;
        remove(&half.join("temporary"))
    }

    fn compile(
        &self,
        program: Program,
        half: &Utf8Path,
        source: &Utf8Path,
        log: &fs_err::File,
        environment: &BTreeMap<OsString, OsString>,
        begun: Instant,
    ) -> Result<()> {
        let name = program.tool.program();
        let mut flags = "-s -w".to_owned();
        for variable in self.module.variables {
            flags.push_str(" -X ");
            flags.push_str(variable);
        }
        let output = half.join("bin").join(name);
        // A profile in the main package would compile every dependency again for that program alone.
        let arguments = [
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-pgo=off",
            "-ldflags",
            &flags,
            "-o",
            output.as_str(),
            program.package,
        ];
        let call = Call {
            program: &self.go.path,
            arguments: &arguments,
            environment,
            folder: Some(source),
        };
        let mut copy = log.try_clone()?;
        writeln!(copy, "$ go {}", shell_words::join(arguments)).map_err(|error| stuck(error, self.cache))?;
        let mut told = Duration::ZERO;
        let ended = process::run(
            &call,
            copy.into_file(),
            PROGRAM_LIMIT,
            &self.toolbox.interrupted,
            |_| {
                let elapsed = begun.elapsed();
                self.toolbox.ui.progress(format!(
                    "building {}: {} ({name}), {}",
                    self.place,
                    self.module.name,
                    seconds(Duration::from_secs(elapsed.as_secs()))
                ));
                // Without a spinner a line a minute shows that it is alive.
                if !self.toolbox.ui.has_spinner() && elapsed.saturating_sub(told) > Duration::from_secs(60) {
                    told = elapsed;
                    self.toolbox.ui.status(
                        Status::Building,
                        format!(
                            "{}: {} ({name}), {} so far",
                            self.place,
                            self.module.name,
                            seconds(elapsed)
                        ),
                    );
                }
            },
        );
        match ended {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failed(name)),
            Err(Silence::Interrupted) => Err(Failure::new(
                Kind::Interrupted,
                format!("building `{name}` was interrupted; nothing half built is left"),
            )
            .hinted("run the same command again: what Go has compiled so far is not compiled again")),
            Err(silence) => Err(Failure::preflight(format!("`go build` for `{name}` {silence}"))
                .hinted(format!("its output is in `{}`", self.log()))),
        }
    }

    /// The failure that Go's output tells.
    fn failed(&self, name: &str) -> Failure {
        let log = fs_err::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| !line.starts_with("go: downloading "))
            .collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        let mut failure = Failure::preflight(format!("Go could not build `{name}`; nothing was changed\n  {last}"));
        if let Some((_, hint)) = TROUBLES.iter().find(|(part, _)| log.contains(part)) {
            failure = failure.hinted(hint);
        }
        failure
            .hinted(format!("all of Go's output is in `{}`", self.log()))
            .hinted(format!(
                "or provide it: on PATH, or with `{}=/path/to/{name}`",
                super::table::variable(self.module.programs[0].tool)
            ))
    }

    /// Starts what was just built: a folder mounted noexec, and a program without its version, show here.
    fn try_out(&self, program: Program, half: &Utf8Path) -> Result<()> {
        let path = half.join("bin").join(program.tool.program());
        find::judge(self.toolbox, program.tool, &path)
            .map(|_| ())
            .map_err(|reason| {
                Failure::preflight(format!("`{}` was built, but {reason}", program.tool.program())).hinted(format!(
                    "if `{}` is mounted noexec, set `XTASK_TOOL_CACHE` to a folder where programs may run",
                    self.cache
                ))
            })
    }

    /// Makes the finished folder the entry: one rename, after everything in it is on disk.
    fn publish(&self, half: &Utf8Path) -> Result<()> {
        cache::seal(half, self.module, &self.go.says)
            .map_err(|failure| failure.context(format!("cannot keep `{}` in `{}`", self.module.name, self.cache)))?;
        let entry = cache::entry_folder(self.cache, self.module, &self.go.says);
        // What stands there is broken, else nothing would have been built.
        remove(&entry)?;
        fs_err::rename(half, &entry).map_err(|error| stuck(error, self.cache))?;
        Ok(fs_err::File::open(self.cache)?.sync_all()?)
    }

    /// Removes what builders that died left behind: whoever holds the lock is the only one alive.
    fn sweep(&self) -> Result<()> {
        for path in cache::ours(self.cache, std::slice::from_ref(self.module))? {
            if path
                .file_name()
                .is_some_and(|name| name.starts_with(&cache::half_prefix(self.module)))
            {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Takes the lock of this module, waiting for another builder and saying for whom.
    fn lock(&self) -> Result<LockFile> {
        let (path, lock) = lock_file(self.cache, self.module)?;
        let begun = Instant::now();
        let mut told = false;
        while !lock.try_take().map_err(|error| stuck(error, self.cache))? {
            let holder = holder(&path);
            if !told {
                told = true;
                self.toolbox.ui.status(
                    Status::Waiting,
                    format!("{}: {holder} is building {}", self.place, self.module.name),
                );
            }
            self.toolbox.ui.progress(format!(
                "waiting for {holder}, which is building {}, {}",
                self.module.name,
                seconds(Duration::from_secs(begun.elapsed().as_secs()))
            ));
            if self.toolbox.interrupted.load(Ordering::Relaxed) {
                return Err(Failure::new(
                    Kind::Interrupted,
                    format!("waiting for `{}` was interrupted", self.module.name),
                )
                .hinted("run the same command again"));
            }
            if begun.elapsed() > WAIT_LIMIT {
                return Err(Failure::new(
                    Kind::Locked,
                    format!("{holder} has been building `{}` for two hours", self.module.name),
                )
                .hinted(format!("look what it does; its lock is `{path}`")));
            }
            // A quarter of a second is nothing beside a build, and not noticed by the other builder.
            std::thread::sleep(Duration::from_millis(250));
        }
        let _for_people_only = lock.file().set_len(0);
        let _for_people_only = writeln!(lock.file(), "process {}", std::process::id());
        Ok(lock)
    }
}

/// Says what will be built, how long that takes and what it needs.
fn announce(toolbox: &Toolbox, modules: &[&'static Module], go: &Found, folder: &Utf8Path) {
    let programs: usize = modules.iter().map(|module| module.programs.len()).sum();
    let needed = modules.iter().map(|module| module.mebibytes << 20).sum();
    let go_version = go.version.as_ref().map(ToString::to_string).unwrap_or_default();
    toolbox.ui.status(
        Status::Using,
        format!(
            "{} from {} that Go {go_version} builds once into `{folder}`\nabout {} as measured on 2 cores with empty caches; up to {} of disk with Go's caches",
            plural(programs, "program"),
            plural(modules.len(), "pinned module"),
            seconds(expected(modules)),
            bytes(needed),
        ),
    );
    let free = crate::base::files::free_bytes(folder).unwrap_or(u64::MAX);
    if free < needed {
        toolbox.ui.status(
            Status::Warning,
            format!(
                "only {} are free in `{folder}`: it may not be enough if Go's caches are empty",
                bytes(free)
            ),
        );
    }
}

/// The environment of Go: the person's, without any setting that changes what is built.
fn environment(toolbox: &Toolbox, go: &Found, cache: &Utf8Path) -> Result<BTreeMap<OsString, OsString>> {
    let listed = listed(&toolbox.environment, Tool::Go.variables());
    let mut environment: BTreeMap<OsString, OsString> = listed
        .iter()
        .filter(|(name, _)| !name.to_string_lossy().starts_with("GO"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Go's settings file is read by Go alone, so Go is asked for what it says.
    let mut asking = listed;
    asking.insert("GOTOOLCHAIN".into(), "local".into());
    // A broken one stops even `go env`.
    asking.insert("GOFLAGS".into(), OsString::new());
    asking.remove(OsStr::new("GOROOT"));
    let arguments: Vec<&str> = ["env", "-json"].into_iter().chain(KEPT).collect();
    let call = Call {
        program: &go.path,
        arguments: &arguments,
        environment: &asking,
        folder: Some(cache),
    };
    let answer = process::ask(&call, Duration::from_secs(20)).map_err(|silence| {
        Failure::preflight(format!("`go env` {silence}")).hinted(format!("look at `{}`", go.path))
    })?;
    let settings: BTreeMap<String, String> = serde_json::from_str(&answer.stdout).map_err(|_| {
        Failure::preflight(format!("`go env` {}: {}", answer.ended, answer.stderr.trim())).hinted(format!(
            "look at `{}` and at the file that `go env GOENV` names",
            go.path
        ))
    })?;
    for name in KEPT {
        if let Some(value) = settings.get(name).filter(|value| !value.is_empty()) {
            environment.insert(name.into(), value.into());
        }
    }
    let mut flags = "";
    for (name, folder) in [("GOCACHE", "build"), ("GOMODCACHE", "modules")] {
        let given = environment.get(OsStr::new(name));
        if given.is_none_or(|value| value == "off") {
            environment.insert(name.into(), cache::go_folder(cache).join(folder).into_os_string());
            // Go writes modules read-only, and a folder that is ours must go when `clean` is asked for it.
            flags = "-modcacherw";
        }
    }
    for (name, value) in crate::base::offline::variables() {
        environment.insert(name.into(), value.into());
    }
    for (name, value) in [
        ("GOENV", "off"),
        ("GOFLAGS", flags),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("CGO_ENABLED", "0"),
        ("LC_ALL", "C"),
    ] {
        environment.insert(name.into(), value.into());
    }
    Ok(environment)
}

/// Removes everything of ours from the folder while no builder is at work, and none can begin.
pub(super) fn forget(folder: &Utf8Path) -> Result<()> {
    let paths = cache::ours(folder, super::table::MODULES)?;
    if paths.is_empty() {
        return Ok(());
    }
    let mut locks = Vec::new();
    for module in super::table::MODULES {
        let (path, lock) = lock_file(folder, module)?;
        if !lock.try_take().map_err(|error| stuck(error, folder))? {
            return Err(Failure::new(
                Kind::Locked,
                format!("{} is building {}; nothing was removed", holder(&path), module.name),
            )
            .hinted("run the same command again when it has ended"));
        }
        locks.push(lock);
    }
    for path in paths {
        if path.is_dir() {
            remove(&path)?;
        } else {
            fs_err::remove_file(&path)?;
        }
    }
    drop(locks);
    Ok(())
}

/// Opens the lock of a module; the file stays for ever, for a removed one locks nobody out.
fn lock_file(folder: &Utf8Path, module: &Module) -> Result<(Utf8PathBuf, LockFile)> {
    let path = folder.join(format!("{}.lock", module.name));
    let file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| stuck(error, folder))?;
    Ok((path, LockFile::new(file)))
}

/// Who holds a lock, as it wrote down itself.
fn holder(path: &Utf8Path) -> String {
    match fs_err::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

fn make_folder(folder: &Utf8Path) -> Result<()> {
    fs_err::create_dir_all(folder).map_err(|error| stuck(error, folder))
}

/// Removes a folder if it is there. Go writes its module cache read-only, but never below these.
fn remove(folder: &Utf8Path) -> Result<()> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(stuck(error, folder)),
        _ => Ok(()),
    }
}

/// Trouble with the cache folder, before anything was changed.
fn stuck(error: std::io::Error, folder: &Utf8Path) -> Failure {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let hint = match error.kind() {
        StorageFull | QuotaExceeded => "free some disk space, or set `XTASK_TOOL_CACHE` to a folder on a larger disk",
        PermissionDenied | ReadOnlyFilesystem | NotADirectory => {
            "set `XTASK_TOOL_CACHE` to a folder that can be written"
        }
        _ => "set `XTASK_TOOL_CACHE` to another folder",
    };
    Failure {
        kind: Kind::Preflight,
        error: anyhow::Error::from(error).context(format!("cannot keep built tools in `{folder}`")),
        hints: vec![hint.to_owned()],
        command: None,
    }
}

/// The cache key of what Go builds on this host, for a runner that keeps the folder between jobs.
pub(super) fn runner_key(modules: &[&'static Module], go: &str) -> String {
    let keys: Vec<String> = modules.iter().map(|module| cache::key(module, go)).collect();
    let parts: Vec<&str> = keys.iter().map(String::as_str).collect();
    format!(
        "xtask-tools-{}-{}-{}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        &cache::digest(&parts)[..16]
    )
}

/// The modules that these tools are built from, in the order of building.
pub(super) fn modules_of(tools: &[Tool]) -> Vec<&'static Module> {
    super::table::MODULES
        .iter()
        .filter(|module| module.programs.iter().any(|program| tools.contains(&program.tool)))
        .collect()
}
