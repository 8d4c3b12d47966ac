//! The checkout: where it is, and the folders of ours inside it.
//! Nobody else looks for it; everything below takes the root as an argument.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result, ResultExt};

/// Name of the platform config file, which also marks the root of a checkout.
pub const PLATFORM_JSON: &str = "platform.json";

/// Folder of everything xtask keeps in a checkout; ignored by Git.
pub const STATE: &str = ".xtask";

/// Finds the root: the flag or `$XTASK_ROOT` (`given`), else the nearest folder upwards with `platform.json`.
pub fn find(given: Option<&Utf8Path>) -> Result<Utf8PathBuf> {
    if let Some(given) = given {
        let root = absolute(given)?;
        return if root.join(PLATFORM_JSON).is_file() {
            // One spelling: what runs is told by the path it was started with, as the kernel has it.
            root.canonicalize_utf8()
                .or_fail(Kind::Config, format!("cannot follow `{root}`"))
        } else {
            Err(Failure::config(format!("no `{PLATFORM_JSON}` in `{root}`"))
                .hinted("`--root` and `XTASK_ROOT` name the folder that holds `flake.nix` and `platform.json`")
                .hinted("a new checkout gets its platform config from `nix build .#platform`"))
        };
    }
    let here = here()?;
    if let Some(root) = here.ancestors().find(|folder| folder.join(PLATFORM_JSON).is_file()) {
        return Ok(root.to_owned());
    }
    let flake = here.ancestors().find(|folder| folder.join("flake.nix").is_file());
    Err(match flake {
        Some(flake) => Failure::config(format!("`{flake}` has a `flake.nix` but no `{PLATFORM_JSON}`")).hinted(
            format!("restore it (`git checkout -- {PLATFORM_JSON}`) or build it (`nix build .#platform`)"),
        ),
        None => Failure::config(format!("no checkout at or above `{here}`"))
            .hinted("change into a checkout, or name one with `--root DIR` or `XTASK_ROOT`"),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that looks where it stands"
)]
fn here() -> Result<Utf8PathBuf> {
    let here = std::env::current_dir().or_fail(Kind::Config, "cannot tell the current folder")?;
    Utf8PathBuf::from_path_buf(here)
        .map_err(|path| Failure::config(format!("the current folder `{}` is not UTF-8", path.display())))
}

/// An absolute path, from where the person stands.
pub fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf> {
    Ok(if path.is_absolute() {
        path.to_owned()
    } else {
        here()?.join(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_the_same_however_it_is_spelled() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("checkout");
        fs_err::create_dir(&real).unwrap();
        fs_err::write(real.join(PLATFORM_JSON), "{}").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for given in [&real, &link, &real.join("."), &link.join("../checkout/")] {
            let given = Utf8Path::from_path(given).unwrap();
            assert_eq!(find(Some(given)).unwrap(), real, "{given}");
        }
    }
}
