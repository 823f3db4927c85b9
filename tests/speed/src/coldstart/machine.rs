//! Where it was measured.

use std::process::Command;

use serde::Serialize;

/// This machine, for people.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Operating system and architecture.
    pub system: String,
    /// Model of its CPU.
    pub cpu: String,
    /// CPUs that this program may use.
    pub cores: usize,
    /// Load of the last minute at the beginning and at the end.
    pub load: [Option<f64>; 2],
    /// The compiler that is installed; the functions were probably built with it.
    pub rustc: String,
}

impl Machine {
    /// As it is now.
    #[must_use]
    pub fn look() -> Self {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
            Some(line.trim_start_matches(['\t', ' ', ':']).to_owned())
        });
        let rustc = Command::new("rustc").arg("--version").output().ok();
        let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: [load(), None],
            rustc: rustc.unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// Notes the load at the end.
    pub fn is_done(&mut self) {
        let [before, _] = self.load;
        self.load = [before, load()];
    }
}

fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
