//! `secrets edit`: a file in the person's editor, decrypted by sops, which encrypts it again.
//! The plain text is sops' alone; nothing here reads or writes it but to see whether it is YAML.

use camino::Utf8Path;

use super::sops::{SopsClient, relative};
use super::{check, set};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::yaml;
use crate::base::text::unknown;
use crate::base::ui::Status;

/// Opens a file, or the file of a secret of the platform config, in the person's editor.
pub fn run(sops_client: &SopsClient<'_>, given: &Utf8Path) -> Result<()> {
    let checkout = sops_client.checkout;
    let path = match checkout
        .platform
        .secrets
        .required
        .iter()
        .find(|secret| secret.id == given)
    {
        Some(secret) => secret.file.clone(),
        None if given.components().count() == 1 && !given.as_str().ends_with(".yaml") => {
            let known = checkout.platform.secrets.required.iter();
            return Err(unknown(
                Kind::Config,
                "secret",
                given.as_str(),
                known.map(|secret| secret.id.as_str()),
            ));
        }
        None => relative(&checkout.root, given),
    };
    set::rules_for(&checkout.root, &path)?;
    let before = fs_err::read(checkout.path(&path)).map_err(|error| {
        Failure::config(format!("`{path}` cannot be read: {}", error.kind()))
            .hinted("`cargo xtask secrets list` shows what there is; `secrets new` makes one")
    })?;
    let _held = sops_client.hold(&format!("secrets edit {path}"))?;
    let identities = sops_client.identities()?;
    // Says in our words who can read it, before an editor opens.
    drop(sops_client.decrypt(&path, &identities)?);
    let editor = ["SOPS_EDITOR", "VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    let status = sops_client.edit(&path, &editor, &identities)?;
    let unchanged = fs_err::read(checkout.path(&path))? == before;
    match status {
        // sops' own code for a file that was left as it was.
        200 => sops_client.ui.status(Status::Fresh, format!("`{path}` is as it was")),
        0 if unchanged => sops_client.ui.status(Status::Fresh, format!("`{path}` is as it was")),
        0 => {
            sops_client.ui.status(Status::Done, &path);
            let problems = check::problems(&checkout.root, &checkout.platform)?;
            let own: Vec<_> = problems.into_iter().filter(|problem| problem.file == path).collect();
            check::judge(&own, None)?;
        }
        code => {
            let failure = Failure::new(
                Kind::Step,
                format!("the editor `{editor}` or sops failed with exit status {code}"),
            );
            return Err(if unchanged {
                failure.hinted(format!("`{path}` is as it was"))
            } else {
                failure.hinted(format!("look at what changed: git diff {path}"))
            });
        }
    }
    Ok(())
}

/// The editor, and then a look at what it saved: sops would ask again for ever where nobody can answer.
pub fn run_editor(file: &Utf8Path) -> Result<u8> {
    let editor = std::env::var("XTASK_EDITOR").unwrap_or_else(|_| "vi".to_owned());
    let status = crate::base::process::run_editor(&editor, file)?;
    if status != 0 {
        return Ok(status);
    }
    let text = fs_err::read_to_string(file)?;
    match yaml::read_one(&text) {
        Ok(_) => Ok(0),
        // On a terminal sops itself shows the mistake and opens the editor again.
        Err(_) if std::io::IsTerminal::is_terminal(&std::io::stdin()) => Ok(0),
        // The message could quote what was typed; the line is enough.
        Err(error) => Err(Failure::new(
            Kind::Step,
            format!("what the editor saved is no YAML (line {})", error.line),
        )),
    }
}
