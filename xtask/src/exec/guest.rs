//! Derivations about guests: their folder, images, comparison with the facts, kubeconfig and certificate.
//! It starts nothing; what Lima said stands in the files that it reads.

use camino::Utf8Path;
use serde_json::{Value, json};

use super::Runner;
use super::derive::{read, read_json, write_json};
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files::write;
use crate::base::text::bytes;
use crate::base::ui::Word;
use crate::cluster::vm::image::Image;
use crate::cluster::vm::route::{self, Routes};
use crate::cluster::vm::{self, Protection, Record, Saved};
use crate::cluster::vm::{host, lima};
use crate::plan::{Derivation, Driver, GuestWanted};
use crate::project::Project;

impl Runner<'_> {
    pub(super) fn derive_guest(&self, derivation: &Derivation) -> Result<()> {
        let root = self.root;
        match derivation {
            Derivation::GuestHome { api_ports, to } => make_home(root, api_ports, to),
            Derivation::GuestImage {
                from,
                digest,
                kernel,
                arch,
                to,
            } => {
                let kernel = match kernel {
                    Some(path) if root.join(path).exists() => Some(read(root, path)?.trim().to_owned()),
                    _ => None,
                };
                let image = Image::look(&root.join(from), digest.as_deref(), arch, kernel)?;
                self.ui.status(
                    Word::Checked,
                    format!(
                        "{} ({}, a disk of {}, SHA-256 {})",
                        image.path,
                        bytes(image.size),
                        bytes(image.virtual_size),
                        image.digest
                    ),
                );
                write_json(root, to, &image)
            }
            Derivation::GuestImageIntact { image } => Image::read(&root.join(image))?.intact(),
            Derivation::GuestCompare {
                wanted,
                listing,
                home,
                image,
                record,
                to,
            } => {
                let saved = saved_profile(root, home, wanted)?;
                let image = image_if_any(root, image)?;
                let record = Record::read(&root.join(record))?;
                let instance = vm::instance(&read(root, listing)?, &wanted.instance)?;
                let drift = vm::compare(wanted, instance.as_ref(), &saved, image.as_ref(), record.as_ref());
                // What this checkout began and never ended is swept by its own record, whatever Lima finds of it.
                if let Some(instance) = instance.filter(|_| !drift.half_made) {
                    instance.inspected()?;
                }
                for field in &drift.fields {
                    self.ui.status(Word::Stale, field.words());
                }
                if drift.half_made {
                    self.ui.status(
                        Word::Stale,
                        format!("an earlier start of `{}` never came to its end", wanted.instance),
                    );
                }
                write_json(root, to, &drift)
            }
            Derivation::GuestFits { wanted, listing } => {
                let instance = vm::instance(&read(root, listing)?, &wanted.instance)?;
                let note = vm::fits(wanted, instance.as_ref())?;
                self.ui.status(Word::Checked, note);
                Ok(())
            }
            Derivation::GuestDoomed { instance, listing } => match vm::instance(&read(root, listing)?, instance)? {
                None => Ok(()),
                Some(doomed) => {
                    self.ui
                        .status(Word::Checked, vm::doomed(&doomed, Protection::look(&doomed))?);
                    Ok(())
                }
            },
            Derivation::GuestGone { instance, listing } => match vm::instance(&read(root, listing)?, instance)? {
                None => Ok(()),
                Some(left) => Err(Failure::new(
                    Kind::Step,
                    format!(
                        "`{instance}` is still there after it was deleted, and is `{}`",
                        left.status
                    ),
                )
                .hinted("end what uses it, then run the same command again")),
            },
            Derivation::GuestRecord {
                wanted,
                image,
                state,
                to,
            } => {
                let before = Record::read(&root.join(to))?;
                let image = image_if_any(root, image)?;
                write_json(root, to, &Record::next(wanted, *state, image, before))
            }
            Derivation::LimaTemplate { wanted, image, to } => {
                let image = Image::read(&root.join(image))?;
                write_json(root, to, &lima::template(wanted, image.path.as_str()))
            }
            Derivation::Kubeconfig {
                from,
                context,
                port,
                to,
            } => {
                let text = read(root, from)?;
                let value = crate::base::formats::yaml::read_one(&text)
                    .or_fail(Kind::Step, "the kubeconfig of the guest cannot be read")?;
                let own = vm::kubeconfig(&value, context, *port)?;
                let text = crate::base::formats::yaml::write(&own);
                write(&root.join(to), text.as_bytes(), 0o600)
            }
            Derivation::GuestSystem { link, to } => {
                let path = root.join(link).canonicalize_utf8()?;
                let kernel = path.join("kernel").canonicalize_utf8()?;
                let disks = vm::disks(&fs_err::read_to_string(path.join("etc/fstab"))?);
                let home = host::guests_folder(root)?;
                let mut ssh = serde_json::Map::new();
                for instance in fs_err::read_dir(home.join("_lima"))? {
                    let name = instance?.file_name().to_string_lossy().into_owned();
                    if !name.starts_with('_') {
                        let file = home.join("_lima").join(&name).join("ssh.config");
                        ssh.insert(name, json!(format!("-F {}", crate::plan::quote(file.as_str()))));
                    }
                }
                write_json(
                    root,
                    to,
                    &json!({"path": path, "kernel": kernel, "disks": disks, "ssh": ssh}),
                )
            }
            Derivation::SystemFits { system, booted } => {
                let (new, old) = (read_json(root, system)?, read_json(root, booted)?);
                let why = if new["kernel"] != old["kernel"] {
                    format!(
                        "the guest runs kernel {}, the new system has {}",
                        old["kernel"], new["kernel"]
                    )
                } else if new["disks"] != old["disks"] {
                    format!(
                        "the guest has the disks {}, the new system wants {}",
                        old["disks"], new["disks"]
                    )
                } else {
                    return Ok(());
                };
                Err(Failure::refused(format!("{why}; nothing was switched")).hinted(
                    "make the guest anew with the new image: `cargo xtask image build`, then `cargo xtask local-up`",
                ))
            }
            Derivation::Routes {
                project,
                configmaps,
                to,
            } => {
                let project = Project::read(&root.join(project))?;
                let objects: Vec<&Value> = project.objects().map(|(_, object)| &object.value).collect();
                let addresses = route::addresses(&objects);
                let published = read_json(root, configmaps)?;
                let pem = match crate::cluster::vm::trust::certificate(&published) {
                    Ok(pem) => Some(pem.to_owned()),
                    // A cluster whose issuer is a public one publishes none.
                    Err(failure) if failure.kind == Kind::Preflight => None,
                    Err(failure) => return Err(failure),
                };
                let verified = if pem.is_some() {
                    "the local authority's root"
                } else {
                    "the authorities of the public web"
                };
                for address in &addresses {
                    self.ui
                        .status(Word::Checked, format!("{address}, to be verified by {verified}"));
                }
                write_json(root, to, &Routes { addresses, root: pem })
            }
            Derivation::RootCertificate { from, to } => {
                let object = read_json(root, from)?;
                let pem = crate::cluster::vm::trust::certificate(&object)?;
                self.ui.status(
                    Word::Checked,
                    format!(
                        "root certificate, SHA-256 of it {}",
                        crate::cluster::vm::trust::fingerprint(pem)?
                    ),
                );
                write(&root.join(to), pem.as_bytes(), 0o644)
            }
            _ => Err(Failure::unexpected("not a derivation about guests")),
        }
    }
}

/// Makes the folder of this checkout's guests with what every instance is given, and writes down where it is.
pub(crate) fn make_home(root: &Utf8Path, api_ports: &[u16], to: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    let home = host::guests_folder(root)?;
    // Colima ignores a folder that does not exist and takes the user's own.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home.join("_lima/_config"))
        .or_fail(Kind::Preflight, format!("cannot make the folder of guests `{home}`"))
        .map_err(|failure| failure.hinted(format!("name another: `{}=/short/path`", host::HOME_VARIABLE)))?;
    let overrides = serde_json::to_string_pretty(&lima::overrides(api_ports)).expect("plain data");
    write(
        &home.join("_lima/_config/override.yaml"),
        format!("# Written by `cargo xtask local-up`.\n{overrides}\n").as_bytes(),
        0o600,
    )?;
    write_json(
        root,
        to,
        &json!({"home": home, "lima": home.join("_lima"), "cache": home.join("cache")}),
    )
}

fn saved_profile(root: &Utf8Path, home: &Utf8Path, wanted: &GuestWanted) -> Result<Saved> {
    if wanted.driver == Driver::Lima {
        return Ok(Saved::None);
    }
    let home: Value = read_json(root, home)?;
    let folder = home["home"].as_str().unwrap_or_default();
    vm::saved(Utf8Path::new(folder), wanted)
}

fn image_if_any(root: &Utf8Path, record: &Utf8Path) -> Result<Option<Image>> {
    let path = root.join(record);
    if path.exists() {
        Image::read(&path).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::base::process::{Ended, Input, Interrupt, Process, Stdout};

    #[test]
    fn what_a_program_of_the_system_says_is_read_and_a_failure_is_nothing() {
        let said = crate::base::process::ask_system("/bin/echo", &["15.5"]);
        assert_eq!(said.as_deref().map(str::trim), Some("15.5"));
        assert_eq!(crate::base::process::ask_system("/bin/false", &[]), None);
        assert_eq!(crate::base::process::ask_system("/no/such/program", &[]), None);
    }

    #[test]
    fn the_program_that_tries_rosetta_runs_and_ends_as_it_says() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let program = camino::Utf8Path::from_path(folder.path()).unwrap().join("amd64");
        let bytes = crate::cluster::vm::trust::decode(crate::cluster::vm::AMD64).unwrap();
        fs_err::write(&program, bytes).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let outcome = Process {
            program,
            args: Vec::new(),
            env: std::collections::BTreeMap::new(),
            directory: "/".into(),
            stdin: Input::Null,
            stdout: Stdout::Log,
            log: None,
            partial: None,
            note: None,
            veil: crate::base::process::redact::Veil::default(),
            deadline: std::time::Duration::from_secs(10),
        }
        .run(&Interrupt::default())
        .unwrap();
        assert_eq!(outcome.ended, Ended::Code(42));
    }
}
