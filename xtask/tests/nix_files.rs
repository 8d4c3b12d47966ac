//! Every Nix file of the checkout: it parses, it is formatted, and nothing in it is dead.
//! The libraries of `nixfmt` and `deadnix` are asked, so that no Nix is needed.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate has a parent folder")
        .to_owned()
}

/// Every Nix file that is part of the project.
fn nix_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["flake.nix"].map(|name| root().join(name)).into();
    for folder in ["modules", "images", "templates"] {
        files.extend(
            walkdir::WalkDir::new(root().join(folder))
                .sort_by_file_name()
                .into_iter()
                .map(|entry| entry.expect("a folder of the checkout can be read").into_path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "nix")),
        );
    }
    assert!(files.len() > 50, "only {} Nix files were found", files.len());
    files
}

#[test]
fn every_nix_file_is_formatted() {
    let problems: Vec<String> = nix_files()
        .iter()
        .filter_map(|path| {
            let text = fs_err::read_to_string(path).expect("a file of the checkout can be read");
            match nixfmt_rs::format(&text) {
                Ok(formatted) if formatted == text => None,
                Ok(_) => Some(format!("{}: not formatted; `nixfmt` mends it", path.display())),
                Err(error) => Some(format!("{}: does not parse: {error:?}", path.display())),
            }
        })
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_nix_file_has_dead_code() {
    let settings = deadnix::Settings {
        no_lambda_arg: false,
        no_lambda_pattern_names: false,
        no_underscore: false,
        warn_used_underscore: false,
    };
    let mut problems = Vec::new();
    for path in nix_files() {
        let text = fs_err::read_to_string(&path).expect("a file of the checkout can be read");
        let tree = rnix::Root::parse(&text);
        assert_eq!(tree.errors(), [], "{} does not parse", path.display());
        for dead in settings.find_dead_code(&tree.syntax()) {
            problems.push(format!("{}: {}: {}", path.display(), dead.scope, dead.binding.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
