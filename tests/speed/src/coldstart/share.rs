//! A part of a CPU, as Lambda gives it to a small function: a CPU cgroup of Linux, version 1 or 2.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Failure, NotPossible};

/// Lambda gives a function CPU by its memory; with so much it has a whole one.
pub const WHOLE_CPU_MB: u32 = 1_769;
const PERIOD_US: u32 = 20_000;
/// Folders of cgroups begin with this.
const PREFIX: &str = "snapback-bench-";
/// Tries to remove a cgroup: the kernel needs a moment to bury the last process that was killed.
const REMOVE_TRIES: u32 = 100;

/// A cgroup with a quota. It is removed when this is dropped; its processes must be gone or killed by then.
#[derive(Debug)]
pub struct CpuShare {
    folder: PathBuf,
}

/// Where cgroups are, and what the quota is called there.
#[derive(Debug, Clone, Copy)]
enum Hierarchy {
    /// `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
    One(&'static str),
    /// `cpu.max`.
    Two(&'static str),
}

const HIERARCHIES: [Hierarchy; 3] = [
    Hierarchy::One("/sys/fs/cgroup/cpu"),
    Hierarchy::One("/sys/fs/cgroup/cpu,cpuacct"),
    Hierarchy::Two("/sys/fs/cgroup"),
];

impl CpuShare {
    /// A new cgroup with the share of a function of `memory_mb`.
    ///
    /// # Errors
    /// [`NotPossible`] where this system has none, or does not let us make one.
    pub fn make(memory_mb: u32) -> Result<Self, Failure> {
        let found = HIERARCHIES.into_iter().find(|hierarchy| hierarchy.is_there());
        let hierarchy = found.ok_or_else(|| NotPossible("this system has no cgroup for CPUs".to_owned()))?;
        hierarchy.remove_old();
        hierarchy
            .make(quota_us(memory_mb))
            .map_err(|(path, error)| NotPossible(format!("{}: {error}", path.display())).into())
    }

    /// Moves a process with all its threads into it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn join(&self, pid: u32) -> std::io::Result<()> {
        std::fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }
}

/// CPU time in each period.
fn quota_us(memory_mb: u32) -> u32 {
    PERIOD_US.saturating_mul(memory_mb) / WHOLE_CPU_MB
}

impl Hierarchy {
    fn root(self) -> &'static Path {
        match self {
            Self::One(root) | Self::Two(root) => Path::new(root),
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::One(root) => Path::new(root).join("cpu.cfs_quota_us").exists(),
            Self::Two(root) => {
                let controllers = std::fs::read_to_string(Path::new(root).join("cgroup.controllers"));
                controllers.is_ok_and(|list| list.split_whitespace().any(|controller| controller == "cpu"))
            }
        }
    }

    /// Removes what a benchmark left that was killed.
    fn remove_old(self) {
        let Ok(folders) = std::fs::read_dir(self.root()) else { return };
        for folder in folders.flatten().filter(|folder| folder.file_name().to_string_lossy().starts_with(PREFIX)) {
            // One that is in use cannot be removed, and is somebody else's.
            let _in_use = std::fs::remove_dir(folder.path());
        }
    }

    fn make(self, quota_us: u32) -> Result<CpuShare, (PathBuf, std::io::Error)> {
        let folder = self.root().join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&folder).map_err(|error| (folder.clone(), error))?;
        let share = CpuShare { folder };
        let write = |path: PathBuf, text: String| std::fs::write(&path, text).map_err(|error| (path, error));
        match self {
            Self::One(_) => {
                write(share.folder.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
                write(share.folder.join("cpu.cfs_quota_us"), quota_us.to_string())?;
            }
            Self::Two(_) => {
                if !share.folder.join("cpu.max").exists() {
                    write(self.root().join("cgroup.subtree_control"), "+cpu".to_owned())?;
                }
                write(share.folder.join("cpu.max"), format!("{quota_us} {PERIOD_US}"))?;
            }
        }
        Ok(share)
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        for _ in 0..REMOVE_TRIES {
            match std::fs::remove_dir(&self.folder) {
                Ok(()) => return,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        eprintln!("bench-coldstart: could not remove {}: rmdir it when its processes are gone", self.folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_buys_cpu() {
        // (MB, µs of each 20,000)
        for (memory_mb, expected) in [(128, 1_447), (256, 2_894), (512, 5_788), (WHOLE_CPU_MB, PERIOD_US)] {
            assert_eq!(quota_us(memory_mb), expected, "{memory_mb} MB");
        }
    }
}
