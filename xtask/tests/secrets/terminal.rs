//! A person at a terminal: prompts, Ctrl-C, the editor.

use super::session::Session;
use super::*;

#[test]
fn a_token_that_is_typed_is_not_shown_and_reaches_its_file() {
    let checkout = taken_over();
    let mut session = Session::of(&mut checkout.command(&["secrets", "set", "hetzner"]));
    session.sees("Hetzner Cloud token");
    support::until("the terminal is silent", || !session.echoes());
    session.types("typed-token-0123456789");
    session.sees("Done");
    let (code, shown) = session.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("typed-token"), "{shown}");
    let document = decrypted(
        &checkout,
        "k8s/secrets/production/hetzner.enc.yaml",
        &identity(&checkout, Some("admin")),
    )
    .unwrap();
    assert_eq!(
        document.pointer("/spec/secretTemplates/0/stringData/hcloud").unwrap(),
        "typed-token-0123456789"
    );
}

#[test]
fn the_first_ctrl_c_at_a_prompt_ends_the_run_with_nothing_made_and_the_terminal_as_it_was() {
    let checkout = Checkout::tiny();
    let before = contents(&checkout.root);
    let mut session = Session::of(&mut checkout.command(&["secrets", "init"]));
    session.sees("Take it over?");
    session.types("y");
    session.sees("Cloudflare token");
    support::until("the terminal is silent", || !session.echoes());
    let pid = session.pid();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    session.sees("interrupted");
    assert!(session.echoes(), "the terminal stays silent");
    let (code, shown) = session.ends();
    assert_eq!(code, Some(130), "{shown}");
    assert_eq!(before, contents(&checkout.root));
}

#[test]
fn the_editor_has_the_terminal() {
    let mut checkout = taken_over();
    let editor = editor(
        &checkout,
        "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] || exit 9\nprintf 'which value? '\nread -r value\nsed -i \"s/auth: .*/auth: $value/\" \"$1\"",
    );
    checkout.variables.insert("EDITOR".into(), editor);
    let mut session = Session::of(&mut checkout.command(&["secrets", "edit", "argocd-redis-local"]));
    session.sees("which value?");
    session.types("by-hand");
    session.sees("Done");
    let (code, shown) = session.ends();
    assert_eq!(code, Some(0), "{shown}");
    let document = decrypted(&checkout, cluster::REDIS, &identity(&checkout, None)).unwrap();
    assert_eq!(
        document.pointer("/spec/secretTemplates/0/stringData/auth").unwrap(),
        "by-hand"
    );
}
