//! This host, as others see it.

/// This host's name, as holders are called.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
