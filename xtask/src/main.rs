//! The binary: hands the command line to the library and its code to the caller.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::cli::main()
}
