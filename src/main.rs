//! Fovea's command. What it does is in `fovea::cli`; this file only chooses the allocator.

use std::process::ExitCode;

/// mimalloc gives large blocks back to the system and does not fragment under decoders' allocation pattern.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fovea::cli::run()
}
