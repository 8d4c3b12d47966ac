//! Images of VMs: the one qcow2 of a build or a file, and what is recorded of it.
//! It builds nothing; a recorded image is believed only as long as it is the same file.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::failure::{Failure, Result};
use crate::base::root::STATE;
use crate::base::text::bytes;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::platform::Arch;

/// Finds the one qcow2 of a build or a file, and records path, store path, digest and sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmImage {
    /// A qcow2, or a folder with exactly one; relative to the root, or absolute.
    pub from: Utf8PathBuf,
    /// SHA-256 that it must have.
    pub digest: Option<String>,
    /// File with the version of the kernel inside, if that is known.
    pub kernel: Option<Utf8PathBuf>,
    /// Architecture of the VM.
    pub arch: String,
    /// JSON file of the type [`Image`].
    pub to: Utf8PathBuf,
}

impl VmImage {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let kernel = match &self.kernel {
            Some(path) => on.text_if_any(path)?.map(|text| text.trim().to_owned()),
            None => None,
        };
        let image = Image::look(&on.root.join(&self.from), self.digest.as_deref(), &self.arch, kernel)?;
        on.ui.status(
            Status::Checked,
            format!(
                "{} ({}, a disk of {}, SHA-256 {})",
                image.path,
                bytes(image.size),
                bytes(image.virtual_size),
                image.digest
            ),
        );
        on.write_json(&self.to, &image)
    }
}

/// Whether a recorded image is still the file that was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmImageIntact {
    /// JSON file of the type [`Image`].
    pub image: Utf8PathBuf,
}

impl VmImageIntact {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        Image::read(&on.root.join(&self.image))?.intact()
    }
}

/// What is recorded of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Image {
    /// The qcow2, absolute and without links.
    pub path: Utf8PathBuf,
    /// Store path it lies in; none for a file from elsewhere.
    pub store_path: Option<Utf8PathBuf>,
    /// SHA-256 of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the disk that a VM sees.
    pub virtual_size: u64,
    /// Architecture of the VM.
    pub arch: String,
    /// Version of its kernel, if it is known.
    pub kernel: Option<String>,
}

/// Where the image of an architecture is recorded.
pub fn record_path(arch: Arch) -> Utf8PathBuf {
    Utf8Path::new(STATE).join(format!("image-{}.json", arch.name()))
}

/// Link to what Nix built; it also keeps the garbage collector away. Its folder is there in every run.
pub fn link_path(arch: Arch) -> Utf8PathBuf {
    Utf8Path::new(STATE).join(format!("image-{}", arch.name()))
}

impl Image {
    /// Reads a record.
    pub fn read(path: &Utf8Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::config(format!("`{path}` is no record of an image: {error}"))
                .hinted("`cargo xtask image build` or `image use FILE` writes it anew")
        })
    }

    /// Looks at a qcow2, or at a folder with exactly one.
    pub fn look(from: &Utf8Path, digest: Option<&str>, arch: &str, kernel: Option<String>) -> Result<Self> {
        let path = one_file(from, "a qcow2 image", &[".qcow2"])?;
        let virtual_size = virtual_size(&path)?;
        let (found, size) = digest_of(&path)?;
        if let Some(wanted) = digest
            && !wanted.eq_ignore_ascii_case(&found)
        {
            return Err(Failure::refused(format!(
                "`{path}` has SHA-256 {found}, expected {wanted}; it was not taken"
            ))
            .hinted("copy the image again, or look where it came from"));
        }
        let store_path = path
            .strip_prefix("/nix/store")
            .ok()
            .and_then(|rest| rest.components().next())
            .map(|name| Utf8Path::new("/nix/store").join(name.as_str()));
        Ok(Self {
            path,
            store_path,
            digest: found,
            size,
            virtual_size,
            arch: arch.to_owned(),
            kernel,
        })
    }

    /// Checks that the file is the one that was recorded.
    pub fn intact(&self) -> Result<()> {
        let again = "`cargo xtask image build` builds one, `cargo xtask image use FILE` takes one built elsewhere";
        if !self.path.is_file() {
            return Err(Failure::preflight(format!("the recorded image `{}` is gone", self.path)).hinted(again));
        }
        let (found, _) = digest_of(&self.path)?;
        if found == self.digest {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "`{}` is no longer the image that was recorded: SHA-256 {found}, recorded {}",
            self.path, self.digest
        ))
        .hinted(again))
    }
}

/// The file itself, or the only file with one of these endings directly in the folder; links resolved, for the tools
/// resolve none.
fn one_file(from: &Utf8Path, what: &str, endings: &[&str]) -> Result<Utf8PathBuf> {
    let name = format!("name {what}, or a folder with one");
    let whole = from
        .canonicalize_utf8()
        .map_err(|error| Failure::config(format!("there is nothing at `{from}`: {error}")).hinted(name))?;
    if whole.is_file() {
        return Ok(whole);
    }
    let mut found = Vec::new();
    for entry in fs_err::read_dir(&whole)? {
        let path = Utf8PathBuf::from_path_buf(entry?.path())
            .map_err(|path| Failure::unexpected(format!("`{}` is not UTF-8", path.display())))?;
        if endings.iter().any(|ending| path.as_str().ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.canonicalize_utf8()?),
        [] => {
            Err(Failure::config(format!("no `*{}` in `{whole}`", endings.join("`, `*"))).hinted("name the file itself"))
        }
        many => Err(Failure::config(format!(
            "{} of them in `{whole}`: {}",
            many.len(),
            many.iter()
                .filter_map(|path| path.file_name())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .hinted("name the one to take")),
    }
}

/// The size of the disk, from the header: magic `QFI` and 0xfb, and the size as a big-endian number at byte 24.
fn virtual_size(path: &Utf8Path) -> Result<u64> {
    let mut header = [0_u8; 32];
    let mut file = fs_err::File::open(path)?;
    let whole = file.read_exact(&mut header);
    if whole.is_err() || header[..4] != *b"QFI\xfb" {
        return Err(Failure::config(format!("`{path}` is no qcow2 image"))
            .hinted("take the `nixos.qcow2` of `.#k3s-local-image` as it is"));
    }
    let size: [u8; 8] = header[24..32].try_into().expect("eight bytes of the header");
    Ok(u64::from_be_bytes(size))
}

fn digest_of(path: &Utf8Path) -> Result<(String, u64)> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    Ok((format!("{:x}", hasher.finalize()), size))
}

/// An archive that containerd imports, or the only one directly in the folder: a tar, also one that gzip or zstd
/// packed.
pub fn archive_at(from: &Utf8Path) -> Result<Utf8PathBuf> {
    let path = one_file(from, "an archive", &[".tar", ".tar.gz", ".tar.zst"])?;
    let mut head = Vec::new();
    fs_err::File::open(&path)
        .and_then(|file| file.take(512).read_to_end(&mut head))
        .map_err(|error| {
            Failure::config(format!("`{path}` cannot be read: {}", error.kind()))
                .hinted("name an archive, or a store path of one, relative to the checkout or absolute")
        })?;
    let tar = head.get(257..262) == Some(b"ustar".as_slice());
    let packed = head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if tar || packed {
        return Ok(path);
    }
    Err(Failure::config(format!("`{path}` is no archive of a container image"))
        .hinted("an OCI or Docker archive is taken, as `skopeo copy … oci-archive:FILE` or `docker save` write it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Kind;

    fn image(bytes: u64) -> Vec<u8> {
        let mut content = b"QFI\xfb\0\0\0\x03".to_vec();
        content.resize(24, 0);
        content.extend(bytes.to_be_bytes());
        content
    }

    #[test]
    fn the_one_image_of_a_folder_is_found_and_measured() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        fs_err::write(root.join("nixos.qcow2"), image(4 << 30)).unwrap();
        fs_err::write(root.join("nix-support"), "").unwrap();
        let found = Image::look(root, None, "aarch64", None).unwrap();
        assert_eq!(found.virtual_size, 4 << 30);
        assert_eq!(found.size, 32);
        found.intact().unwrap();
        fs_err::write(root.join("nixos.qcow2"), image(5 << 30)).unwrap();
        assert_eq!(found.intact().unwrap_err().kind, Kind::Refused);
        fs_err::write(root.join("other.qcow2"), image(1)).unwrap();
        assert!(
            Image::look(root, None, "aarch64", None)
                .unwrap_err()
                .chain()
                .contains("2 of them")
        );
    }

    #[test]
    fn an_archive_is_a_file_or_the_one_in_a_folder() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        let refused = |path: &Utf8Path| archive_at(path).unwrap_err();
        assert_eq!(refused(&root.join("missing.tar")).kind, Kind::Config);
        assert!(refused(&root).chain().contains("no `*.tar`, `*.tar.gz`, `*.tar.zst`"));
        let mut tar = vec![0_u8; 512];
        tar[257..262].copy_from_slice(b"ustar");
        fs_err::write(root.join("a.tar"), tar).unwrap();
        assert_eq!(archive_at(&root).unwrap(), root.join("a.tar"));
        fs_err::write(root.join("b.tar.gz"), b"text").unwrap();
        assert!(refused(&root).chain().contains("a.tar, b.tar.gz"));
        assert!(refused(&root.join("b.tar.gz")).chain().contains("is no archive"));
    }

    #[test]
    fn a_file_that_is_no_image_or_has_another_digest_is_not_taken() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("a.qcow2");
        fs_err::write(&file, "short").unwrap();
        assert_eq!(
            Image::look(&file, None, "aarch64", None).unwrap_err().kind,
            Kind::Config
        );
        fs_err::write(&file, image(1)).unwrap();
        assert_eq!(
            Image::look(&file, Some("00"), "aarch64", None).unwrap_err().kind,
            Kind::Refused
        );
    }
}
