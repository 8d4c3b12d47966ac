//! Lists objects of many kinds through `kubectl proxy`: it holds the credentials and speaks to the server, we ask it
//! for lists over a socket. It says what was answered, in kubectl's words; it does not judge an object.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Caller;
use super::process::judge;
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files::later;
use crate::base::http::unix::{Answer, Client};
use crate::base::ui::Status;
use crate::command::Command;
use crate::project::resources::{List, Need};

/// Lists that are asked for at the same time; more do not make an API server faster.
const CONNECTIONS: usize = 4;

/// How often an overloaded server is asked when it says for how long to wait, as client-go does.
const TRIES: u32 = 10;

/// Bytes that the path of a socket may have on every system that we run on.
const SOCKET_PATH: usize = 100;

/// Lists objects of many kinds over one connection: `kubectl get` of sixty kinds looks each of them up in its cache
/// anew, and takes three times as long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ListObjects {
    /// `kubectl proxy`, which is ended once everything is read; it holds the credentials.
    pub proxy: Command,
    /// The socket that it makes, named in its arguments, in a folder of its own; relative to the root.
    pub socket: Utf8PathBuf,
    /// JSON file whose `lists` are of the type [`List`].
    pub of: Utf8PathBuf,
    /// Label that the objects have.
    pub label: String,
    /// JSON file of a `List` of them, with their managed fields.
    pub to: Utf8PathBuf,
}

impl ListObjects {
    /// Lists what is asked for, again where the API server was out of reach for a moment.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.patiently(&self.proxy, || self.list(on))
    }

    /// Nothing is written where one list is missing.
    fn list(&self, on: &Caller<'_>) -> Result<()> {
        let lists: Vec<List> = serde_json::from_value(later(on.root, &self.of, "/lists")?)
            .or_fail(Kind::Unexpected, format!("`{}` has no lists", self.of))?;
        let own = on.root.join(&self.socket);
        let folder = own.parent().unwrap_or(&own);
        // Whoever reaches the socket has the credentials behind it.
        let mut private = std::fs::DirBuilder::new();
        private
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .or_fail(Kind::Unexpected, format!("cannot create `{folder}`"))?;
        take_away(&own)?;
        let door = Door::of(&own)?;
        let command = &self.proxy;
        let (outcome, answered) = on
            .process(command, on.log)?
            .run_beside(on.interrupt, |gone| read_all(&door.path, &lists, &self.label, gone))?;
        take_away(&own)?;
        let Some(answered) = answered else {
            judge(command, &outcome)?;
            return Err(Failure::new(
                Kind::Step,
                "`kubectl proxy` ended before it was asked for everything",
            ));
        };
        let answers = answered.map_err(|failure| failure.of_command(command.shell()))?;
        let (lists, answers) = on.without_unlisted(lists, answers);
        on.write(&self.to, together(&lists, &answers)?.as_bytes(), 0o600)
    }
}

impl Caller<'_> {
    /// Names what could not be listed, once in a run, and gives back the rest.
    fn without_unlisted(&self, lists: Vec<List>, answers: Vec<Result<String>>) -> (Vec<List>, Vec<String>) {
        static NAMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let mut named = NAMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut found = (Vec::new(), Vec::new());
        for (list, answer) in lists.into_iter().zip(answers) {
            match answer {
                Ok(answer) => {
                    found.0.push(list);
                    found.1.push(answer);
                }
                Err(failure) => {
                    if named.insert(list.path.clone()) {
                        self.ui.status(
                            Status::Warning,
                            format!(
                                "{}; this stage has no {} that is known of, so it goes on without them",
                                failure.chain(),
                                list.kind
                            ),
                        );
                    }
                }
            }
        }
        found
    }
}

/// Removes a socket, of this run or of one that was killed; never a folder.
fn take_away(socket: &Utf8Path) -> Result<()> {
    match fs_err::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// A path to a socket that is short enough to be one.
struct Door {
    path: Utf8PathBuf,
    _link: Option<tempfile::TempDir>,
}

impl Door {
    fn of(socket: &Utf8Path) -> Result<Self> {
        if socket.as_str().len() <= SOCKET_PATH {
            return Ok(Self {
                path: socket.to_owned(),
                _link: None,
            });
        }
        let link = tempfile::Builder::new().prefix("xtask-").tempdir()?;
        let folder = Utf8PathBuf::from_path_buf(link.path().join("s"))
            .map_err(|path| Failure::config(format!("the path `{}` is not UTF-8", path.display())))?;
        symlink(socket.parent().unwrap_or(socket), &folder)?;
        Ok(Self {
            path: folder.join(socket.file_name().unwrap_or_default()),
            _link: Some(link),
        })
    }
}

/// The text of every list, in the order that was asked for, or why the server refused it; what keeps a list that is
/// needed from being read ends all of it.
fn read_all(socket: &Utf8Path, lists: &[List], label: &str, gone: &AtomicBool) -> Result<Vec<Result<String>>> {
    while UnixStream::connect(socket).is_err() {
        if gone.load(Ordering::SeqCst) {
            return Err(closed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let client = Client::of(socket, CONNECTIONS);
    let next = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let answers: Mutex<Vec<Result<String>>> = Mutex::new(lists.iter().map(|_| Err(closed())).collect());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS.min(lists.len()) {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(list) = lists.get(index) else { return };
                    let answer = read(&client, list, label, gone);
                    if answer.as_ref().is_err_and(|failure| ends_all(list, failure)) {
                        over.store(true, Ordering::SeqCst);
                    }
                    answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = answer;
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What was given up because another failed is not why.
    let worst = answers
        .iter()
        .zip(lists)
        .enumerate()
        .filter_map(|(index, (answer, list))| {
            let failure = answer.as_ref().err()?;
            ends_all(list, failure).then_some((failure.kind == Kind::Step, index))
        })
        .max();
    match worst {
        Some((_, index)) => Err(answers
            .into_iter()
            .nth(index)
            .and_then(Result::err)
            .unwrap_or_else(closed)),
        None => Ok(answers),
    }
}

/// Whether nothing can be said without this list. Of a kind that the stage has no object of the server may refuse it:
/// a conversion webhook of somebody else is down, or we may not read it. That it was not asked at all is another matter.
fn ends_all(list: &List, failure: &Failure) -> bool {
    list.need == Need::Needed || failure.kind != Kind::Preflight
}

fn closed() -> Failure {
    Failure::new(Kind::Unexpected, "`kubectl proxy` is gone")
}

fn read(client: &Client, list: &List, label: &str, gone: &AtomicBool) -> Result<String> {
    let path = format!("{}?labelSelector={}", list.path, crate::base::http::query(label));
    for tried in 1.. {
        let Answer {
            status,
            retry_after,
            text,
        } = client
            .get(&path)
            .map_err(|error| Failure::new(Kind::Step, format!("cannot list {}: {error}", list.path)))?;
        match (status, retry_after) {
            (200, _) => return Ok(text),
            (429 | 500..=599, Some(wait)) if tried < TRIES => rest(wait, gone)?,
            _ => return Err(refused_list(status, &text, list)),
        }
    }
    unreachable!("the last try returns")
}

fn rest(wait: Duration, gone: &AtomicBool) -> Result<()> {
    let end = std::time::Instant::now() + wait;
    while std::time::Instant::now() < end {
        if gone.load(Ordering::SeqCst) {
            return Err(closed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What kubectl says of such an answer; the proxy's own trouble comes as bare words.
fn refused(status: u16, text: &str, path: &str) -> Failure {
    #[derive(Deserialize)]
    struct Status {
        reason: Option<String>,
        message: String,
    }
    let said = match serde_json::from_str::<Status>(text) {
        Ok(Status {
            reason: Some(reason),
            message,
        }) => format!("Error from server ({reason}): {message}"),
        Ok(Status { reason: None, message }) => format!("Error from server: {message}"),
        Err(_) => text.trim().to_owned(),
    };
    Failure::new(Kind::Step, format!("listing {path} was answered {status}: {said}"))
}

/// The same of a list that may be gone without.
fn refused_list(status: u16, text: &str, list: &List) -> Failure {
    let failure = refused(status, text, &list.path);
    // Bare words are the proxy's own: it did not reach the server, which may answer when it is asked again.
    let answered = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match list.need {
        Need::PassedOver if answered => Failure::preflight(failure.chain()),
        _ => failure,
    }
}

/// One `List` of all objects, each with its type: a list of a kind that the server itself has says it once.
fn together(lists: &[List], answers: &[String]) -> Result<String> {
    #[derive(Deserialize)]
    struct Objects<'a> {
        #[serde(borrow)]
        items: Option<Vec<&'a RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        api_version: Option<IgnoredAny>,
        kind: Option<IgnoredAny>,
    }
    let mut text = String::with_capacity(answers.iter().map(String::len).sum());
    text.push_str(r#"{"apiVersion":"v1","kind":"List","items":["#);
    let mut first = true;
    for (list, answer) in lists.iter().zip(answers) {
        let unread = || format!("the API server's list of {} cannot be read", list.path);
        let answer: Objects<'_> = serde_json::from_str(answer).or_fail(Kind::Step, unread())?;
        let header = format!(
            r#"{{"apiVersion":{},"kind":{}"#,
            serde_json::Value::from(list.api_version.as_str()),
            serde_json::Value::from(list.kind.as_str())
        );
        for item in answer.items.into_iter().flatten() {
            let typed: Typed = serde_json::from_str(item.get()).or_fail(Kind::Step, unread())?;
            if !std::mem::take(&mut first) {
                text.push_str(",\n");
            }
            if typed.api_version.is_some() && typed.kind.is_some() {
                text.push_str(item.get());
                continue;
            }
            let fields = item.get().trim_start_matches('{').trim_start();
            text.push_str(&header);
            if !fields.starts_with('}') {
                text.push(',');
            }
            text.push_str(fields);
        }
    }
    text.push_str("]}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list(path: &str, api_version: &str, kind: &str) -> List {
        List {
            path: path.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            need: Need::Needed,
        }
    }

    #[test]
    fn only_a_refusal_of_what_the_stage_does_not_have_is_passed_over() {
        let mut list = list("/apis/x.org/v1/gadgets", "x.org/v1", "Gadget");
        let text = r#"{"kind":"Status","message":"conversion webhook for x.org/v2, Kind=Gadget failed: Post \"https://c.n.svc:443/\": dial tcp 10.0.0.1:443: connect: connection refused"}"#;
        let failure = refused_list(500, text, &list);
        assert!(ends_all(&list, &failure));
        assert!(
            crate::call::kubectl::blip(&failure.chain()).is_none(),
            "a webhook that is down is no outage of the API server"
        );
        list.need = Need::PassedOver;
        assert!(!ends_all(&list, &refused_list(500, text, &list)));
        assert!(ends_all(
            &list,
            &refused_list(502, "dial tcp: connection refused\n", &list)
        ));
        assert!(ends_all(&list, &closed()), "it was not asked");
        assert!(ends_all(&list, &Failure::new(Kind::Step, "cannot list: broken pipe")));
    }

    #[test]
    fn every_object_has_its_type_however_its_list_says_it() {
        let lists = [
            list("/api/v1/configmaps", "v1", "ConfigMap"),
            list("/apis/x.org/v1/xs", "x.org/v1", "X"),
            list("/api/v1/secrets", "v1", "Secret"),
        ];
        let answers = [
            r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"a"}},{}]}"#,
            r#"{"items":[{"apiVersion":"x.org/v1","kind":"X","metadata":{"name":"{"}}]}"#,
            r#"{"items":null}"#,
        ]
        .map(ToOwned::to_owned);
        let read: Value = serde_json::from_str(&together(&lists, &answers).unwrap()).unwrap();
        assert_eq!(
            read["items"],
            json!([
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
                {"apiVersion": "v1", "kind": "ConfigMap"},
                {"apiVersion": "x.org/v1", "kind": "X", "metadata": {"name": "{"}},
            ])
        );
        let cut = [r#"{"items":[{"metadata""#.to_owned()];
        assert_eq!(together(&lists[..1], &cut).unwrap_err().kind, Kind::Step);
    }

    #[test]
    fn a_refusal_is_told_in_words_that_are_known_to_pass_or_not() {
        let said = |text: &str| refused(500, text, "/api/v1/pods").chain();
        let blip = |text: &str| crate::call::kubectl::blip(&said(text)).is_some();
        assert!(blip(r#"{"kind":"Status","reason":"ServiceUnavailable","message":"x"}"#));
        assert!(blip("dial tcp 127.0.0.1:6443: connect: connection refused\n"));
        assert!(!blip(
            r#"{"kind":"Status","reason":"Forbidden","message":"pods is forbidden"}"#
        ));
        assert!(said(r#"{"message":"odd"}"#).ends_with("Error from server: odd"));
    }

    #[test]
    fn a_socket_far_down_is_reached_by_a_short_path() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let deep = Utf8Path::from_path(folder.path()).unwrap().join("d".repeat(120));
        fs_err::create_dir(&deep).unwrap();
        fs_err::write(deep.join("api"), "there").unwrap();
        let door = Door::of(&deep.join("api")).unwrap();
        assert!(door.path.as_str().len() <= SOCKET_PATH, "{}", door.path);
        assert_eq!(fs_err::read_to_string(&door.path).unwrap(), "there");
    }
}
