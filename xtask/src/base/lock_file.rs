//! A file that processes lock against each other. The kernel gives the lock back when its holder ends, however that
//! ends. It knows no file by name.

use std::fs::{File, TryLockError};

/// An open file whose lock is given back when this is dropped.
///
/// Closing the file is not enough: the lock belongs to every copy of the descriptor, and a child that another thread is
/// just starting has one until it becomes its program. So the lock is given back in words.
#[derive(Debug)]
pub(crate) struct LockFile(File);

impl LockFile {
    /// Takes an open file, not locked yet.
    pub(crate) fn new(file: fs_err::File) -> Self {
        Self(file.into_parts().0)
    }

    /// Locks it against everybody else; false where another holder has it.
    pub(crate) fn try_take(&self) -> std::io::Result<bool> {
        taken(self.0.try_lock())
    }

    /// Locks it against those who take it, but not against those who share it; false where somebody took it.
    pub(crate) fn try_share(&self) -> std::io::Result<bool> {
        taken(self.0.try_lock_shared())
    }

    /// Locks it against everybody else, waiting for the holder. Only for locks that are held for a moment.
    pub(crate) fn take(&self) -> std::io::Result<()> {
        self.0.lock()
    }

    /// The file, to read and write.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // At worst it goes with the last copy of the descriptor.
        let _unlocked = self.0.unlock();
    }
}

fn taken(outcome: Result<(), TryLockError>) -> std::io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_even_while_a_child_that_is_being_started_has_a_copy_of_it() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || LockFile::new(fs_err::File::create(&path).unwrap());
        let first = open();
        assert!(first.try_take().unwrap());
        assert!(!open().try_take().unwrap() && !open().try_share().unwrap());
        // What a child has between its fork and its exec.
        let copy = first.file().try_clone().unwrap();
        drop(first);
        assert!(open().try_take().unwrap());
        drop(copy);
    }

    #[test]
    fn those_who_share_a_lock_keep_out_only_who_takes_it() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || LockFile::new(fs_err::File::create(&path).unwrap());
        let shared = open();
        assert!(shared.try_share().unwrap());
        assert!(open().try_share().unwrap() && !open().try_take().unwrap());
    }
}
