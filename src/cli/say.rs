//! What a command prints that may be long. Where its reader has left, as `| head` does, the command is done.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say::line(format_args!($($text)*)) };
}
pub(super) use say;

/// Prints a line; ends the process where that is not possible.
pub fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        std::process::exit(i32::from(error.kind() != io::ErrorKind::BrokenPipe));
    }
}
