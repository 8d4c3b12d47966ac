//! The folder that kluctl gets: a Git repository of its own, so that kluctl looks no further.
//!
//! kluctl walks upwards to the nearest `.git`, reads the whole worktree around it to say in its result whether that
//! was clean, and fails after everything is applied when it dislikes what it finds: an `origin` that is a path
//! (`file:// protocol is not supported`), no commit yet (`reference not found`), a format that go-git cannot read.
//! What Git knows of the checkout is in our deployment history.

use camino::Utf8Path;

use crate::base::failure::Result;

/// The repository, file by file: loose objects are deflated, and named by the digest of what they hold.
const REPOSITORY: [(&str, &[u8]); 5] = [
    ("HEAD", b"ref: refs/heads/main\n"),
    ("config", b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n"),
    ("refs/heads/main", b"0b5ff0201365d2a08ac6480316b2d3ca38a73b7a\n"),
    (
        "objects/4b/825dc642cb6eb9a060e54bf8d69288fbee4904",
        b"x\xda+)JMU0`\x00\x00\n,\x02\x01",
    ),
    (
        "objects/0b/5ff0201365d2a08ac6480316b2d3ca38a73b7a",
        b"x\xdau\x8cK\n\x03!\x10D\xb3\xf6\x14\xbd\xcf\xc6H\x8f(\x84\xdc\xc5O\x8b\x83\xce4h\x0f\xe4\xf8\x91\xd9\xa7\
        \x16\xf5\x16\xf5\xa8\xc4\xc7\xb1\x0b\xbc\xd0?d\x10\x01Fg\xb6\x9c,\x9a\x14-E\x1f\xb4\xd5\xb4a,.[o\x9c+\x91\x08\
        \xbdF\x15.\xa9<\xe0+a6x\xdf\xf8\x80\x86\xa7^Q\xe9~\x15\xfa\xb7\xab\xd6\xaf$\x1d:s\x9bp2\x94kH]\xba\xd4p\xae\
        \xda\x27\x14\xee\x99\x86\xfa\x01|T2\xea",
    ),
];

/// Makes a folder a Git repository with one commit of no file and without a remote.
///
/// # Errors
///
/// What writing a file says.
pub fn enclose(folder: &Utf8Path) -> Result<()> {
    let git = folder.join(".git");
    if git.exists() {
        fs_err::remove_dir_all(&git)?;
    }
    for (name, content) in REPOSITORY {
        let path = git.join(name);
        fs_err::create_dir_all(path.parent().expect("it has a folder"))?;
        fs_err::write(path, content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0b5ff0201365d2a08ac6480316b2d3ca38a73b7a";

    #[test]
    fn git_reads_one_commit_of_no_file_whatever_stands_around() {
        let outer = tempfile::TempDir::new().unwrap();
        let outer = Utf8Path::from_path(outer.path()).unwrap();
        let git = |folder: &Utf8Path, arguments: &[&str]| {
            duct::cmd("git", arguments)
                .dir(folder)
                .env_remove("GIT_DIR")
                .env_remove("GIT_WORK_TREE")
                .stderr_to_stdout()
                .read()
                .unwrap()
        };
        git(outer, &["init", "--quiet", "."]);
        git(outer, &["remote", "add", "origin", "/a/path"]);
        let inner = outer.join("inner");
        fs_err::create_dir_all(&inner).unwrap();
        fs_err::write(inner.join("stage.json"), "{}").unwrap();

        enclose(&inner).unwrap();

        assert_eq!(git(&inner, &["rev-parse", "HEAD"]), COMMIT);
        assert_eq!(git(&inner, &["remote"]), "");
        assert_eq!(git(&inner, &["ls-tree", "-r", "HEAD"]), "");
        assert_eq!(git(&inner, &["status", "--porcelain"]), "?? stage.json");
        git(&inner, &["fsck", "--strict"]);
    }
}
