//! The binary: hands the command line to the library and its code to the caller.
fn main() {}
