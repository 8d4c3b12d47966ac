//! One program that stands in for every tool in tests: linked as `kluctl`, `kubectl` and so on, it writes its call to
//! `$FAKE_LOG` and answers from `$FAKE_SCRIPT`. It refuses what the real tool would refuse. Never installed.
//!
//! A line of the script is `[once ]PATTERN => ANSWER`, the first that fits counts. A pattern is parts of the call with
//! `*` between them. An answer is an exit code with a text, or `@FILE` for its content; or `serve` with a list of objects
//! to answer from; or `stay`, `hang`, `deaf`,
//! `flood`, `garbage`, `die`.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let own = words.next().unwrap_or_default();
    let tool = own.rsplit('/').next().unwrap_or_default().to_owned();
    let words: Vec<String> = words.collect();
    if tool == "fake-tool" {
        // A child of one that hangs.
        std::thread::sleep(Duration::from_secs(600));
        return ExitCode::SUCCESS;
    }
    if let Some(version) = version(&tool, &words) {
        return say(&version, 0);
    }
    let call = format!("{tool} {}", words.join(" "));
    let log = std::env::var("FAKE_LOG").expect("a test says where calls go");
    let mut file = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .expect("the log is writable");
    file.write_all(format!("{}\n", call.replace('\n', "\\n")).as_bytes())
        .expect("the log is writable");
    if let Some(why) = refused(&tool, &words) {
        let _gone = writeln!(std::io::stderr(), "Error: {why}");
        return ExitCode::from(1);
    }
    answer(&call, &log)
}

/// What the real tool says when it is asked what it is.
fn version(tool: &str, words: &[String]) -> Option<String> {
    let asked = matches!(words.first().map(String::as_str), Some("version" | "--version"));
    if !asked {
        return None;
    }
    Some(match tool {
        "kluctl" => std::env::var("FAKE_KLUCTL").unwrap_or_else(|_| "2.22.1".to_owned()),
        "kubectl" => r#"{"clientVersion":{"gitVersion":"v1.35.4"}}"#.to_owned(),
        "etcd" => "etcd Version: 3.6.15".to_owned(),
        "kwok" | "kwokctl" => format!("{tool} version v0.8.0 go1.26.8 (linux/amd64)"),
        "git" => "git version 2.47.0".to_owned(),
        "age-keygen" => "v1.3.1".to_owned(),
        "nix" => "nix (Nix) 2.8.0".to_owned(),
        _ => "Kubernetes v1.35.4".to_owned(),
    })
}

/// What the real tool would not take.
fn refused(tool: &str, words: &[String]) -> Option<String> {
    let has = |flag: &str| words.iter().any(|word| word.split('=').next() == Some(flag));
    match tool {
        "kubectl" if !has("--kubeconfig") => Some("The connection to the server localhost:8080 was refused".to_owned()),
        "kubectl" if words.iter().any(|word| word == "proxy") => {
            let known = [
                "--kubeconfig",
                "--context",
                "--unix-socket",
                "--reject-methods",
                "--append-server-path",
            ];
            let flag =
                |word: &&String| word.starts_with('-') && !known.contains(&word.split('=').next().unwrap_or_default());
            words.iter().find(flag).map(|word| format!("unknown flag: {word}"))
        }
        "kluctl" => {
            if std::env::var("KUBECONFIG").is_err() {
                return Some("no kubeconfig".to_owned());
            }
            // What `deploy` of both versions takes; 2.22 has neither --kubeconfig nor --discriminator.
            let mut known = vec![
                "--yes",
                "--abort-on-error",
                "--write-command-result",
                "--readiness-timeout",
                "--timeout",
                "--project-dir",
                "--output-format",
                "--include-tag",
                "--context",
                "--no-update-check",
                "--no-color",
            ];
            if std::env::var("FAKE_KLUCTL").is_ok_and(|version| version.starts_with("2.28")) {
                known.extend(["--kubeconfig", "--discriminator"]);
            }
            words
                .iter()
                .filter(|word| word.starts_with('-'))
                .find(|word| !known.contains(&word.split('=').next().unwrap_or_default()))
                .map(|word| format!("unknown flag: {word}"))
        }
        "kwokctl" if !has("--name") || !std::env::var("HOME").is_ok_and(|home| home.contains("/.xtask/")) => {
            Some("the user's own clusters".to_owned())
        }
        _ => None,
    }
}

fn answer(call: &str, log: &str) -> ExitCode {
    let script = std::env::var("FAKE_SCRIPT").expect("a test says what is answered");
    let text = fs_err::read_to_string(script).expect("the script is readable");
    let used_path = format!("{log}.used");
    let mut used = fs_err::read_to_string(&used_path).unwrap_or_default();
    for (index, line) in text.lines().enumerate() {
        let Some((pattern, what)) = line.split_once(" => ") else {
            continue;
        };
        let (once, pattern) = pattern
            .strip_prefix("once ")
            .map_or((false, pattern), |rest| (true, rest));
        let mark = format!("{index};");
        if !fits(call, pattern) || (once && used.split_inclusive(';').any(|seen| seen == mark)) {
            continue;
        }
        if once {
            used.push_str(&mark);
            fs_err::write(&used_path, used).expect("the folder of the log is writable");
        }
        if let Some(result) = call
            .split("--output-format=yaml=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
        {
            fs_err::write(result, "errors: []\nwarnings: []\n").expect("the result is writable");
        }
        return match what.strip_prefix("serve ") {
            Some(items) => serve(call, items),
            None => give(what),
        };
    }
    let _gone = writeln!(std::io::stderr(), "the script has no answer to: {call}");
    ExitCode::from(99)
}

fn fits(call: &str, pattern: &str) -> bool {
    let mut rest = call;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// As `kubectl proxy` on a socket: every list has those objects of a file whose kind its path names.
fn serve(call: &str, items: &str) -> ExitCode {
    let all: serde_json::Value = match items.strip_prefix('@') {
        Some(path) => {
            let text = fs_err::read_to_string(path).expect("the answer's file is there");
            serde_json::from_str(&text).expect("the answer's file is JSON")
        }
        None => serde_json::from_str(items).expect("the answer is JSON"),
    };
    let socket = call
        .split("--unix-socket=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("a proxy has a socket");
    let folder = std::path::Path::new(socket).parent().expect("a socket has a folder");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs_err::metadata(folder).expect("it is there").permissions());
    assert_eq!(
        mode & 0o077,
        0,
        "others reach the socket, and the credentials behind it"
    );
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("the socket's folder is there");
    for stream in listener.incoming() {
        let mut stream = stream.expect("a client that connects");
        let all = all.clone();
        std::thread::spawn(move || {
            let mut lines = std::io::BufReader::new(stream.try_clone().expect("a socket can be shared")).lines();
            while let Some(Ok(request)) = lines.next() {
                let _head: Vec<_> = lines
                    .by_ref()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let path = request.split([' ', '?']).nth(1).unwrap_or_default();
                let plural = path.rsplit('/').next().unwrap_or_default();
                let of_kind = |object: &&serde_json::Value| {
                    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
                    format!("{kind}s") == plural
                };
                let found: Vec<_> = all["items"].as_array().into_iter().flatten().filter(of_kind).collect();
                let body = serde_json::json!({"kind": "List", "items": found}).to_string();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
    }
    ExitCode::SUCCESS
}

fn give(what: &str) -> ExitCode {
    let (word, text) = what.split_once(' ').unwrap_or((what, ""));
    let forever = || {
        std::thread::sleep(Duration::from_secs(600));
        ExitCode::SUCCESS
    };
    match word {
        // As a server does.
        "stay" => forever(),
        "hang" | "deaf" => {
            if word == "deaf" {
                let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
                for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
                    signal_hook::flag::register(signal, std::sync::Arc::clone(&ignored))
                        .expect("signals can be ignored");
                }
            }
            let own = std::env::current_exe().expect("a program has a file");
            // Its own child has to go with it.
            let _child = duct::cmd!(own).start().expect("the same program can be started");
            forever()
        }
        "flood" => {
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..1024 {
                if std::io::stderr().write_all(&chunk).is_err() {
                    break;
                }
            }
            ExitCode::from(1)
        }
        "garbage" => {
            let _gone = std::io::stderr().write_all(b"\xff\xfe broken \x1b[31mred\n");
            ExitCode::from(1)
        }
        "die" => {
            let _never = signal_hook::low_level::raise(signal_hook::consts::SIGKILL);
            forever()
        }
        code => {
            let text = match text.strip_prefix('@') {
                Some(path) => fs_err::read_to_string(path).expect("the answer's file is there"),
                None => text.to_owned(),
            };
            say(&text, code.parse().expect("an answer begins with an exit code"))
        }
    }
}

fn say(text: &str, code: u8) -> ExitCode {
    let _gone = writeln!(std::io::stdout(), "{text}");
    if code != 0 {
        let _gone = writeln!(std::io::stderr(), "{text}");
    }
    ExitCode::from(code)
}
