//! The built binary in a folder with its config, as tests of crashes start and kill it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Kills of a run; `./x soak` sets more by FOVEA_KILLS.
const KILLS: usize = 20;

/// How many kills a run has.
pub fn kills() -> usize {
    std::env::var("FOVEA_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// A process of ours; killed when it is dropped.
pub struct Process(pub Child);

impl Process {
    /// A subcommand with the folder's `fovea.toml`; what it says goes to `log.txt` there.
    pub fn start(folder: &Path, what: &str) -> Self {
        Self::start_with(folder, what, &[])
    }

    /// The same, with an environment.
    pub fn start_with(folder: &Path, what: &str, environment: &[(&str, &str)]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log.txt")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fovea"));
        command.args([what, "--config"]).arg(folder.join("fovea.toml")).current_dir(folder).env_clear();
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// SIGKILL: it has no chance to tidy up.
    pub fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
