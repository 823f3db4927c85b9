//! What a process has used so far.

use std::time::Duration;

/// Processor time of all threads of a process since its start; `None` where the system does not tell, or it is gone.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?);
        let clock = nix::time::clock_getcpuclockid(pid).ok()?;
        Some(Duration::from(clock.now().ok()?))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// Largest resident memory of a process so far, KiB: the high-water mark that Linux keeps; `None` elsewhere, or when it is gone.
#[must_use]
pub fn peak_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Largest resident memory of a process so far, KiB: its own high-water mark where the system keeps one, else what it has
/// now.
pub async fn resident_kb(pid: u32) -> Option<u64> {
    if cfg!(target_os = "linux") {
        return peak_kb(pid);
    }
    let said = tokio::process::Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().await.ok()?;
    String::from_utf8_lossy(&said.stdout).trim().parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_uses_more_and_more() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let kept: Vec<u64> = (0..2_000_000).collect();
        assert_eq!(kept.iter().sum::<u64>(), 1_999_999_000_000);
        assert!(cpu_time(own).unwrap() > before);
        assert!(resident_kb(own).await.unwrap() > 16_000, "what is kept has 16 MB");
    }

    #[tokio::test]
    async fn of_no_process_nothing_is_known() {
        // Above the greatest process id of Linux.
        assert_eq!((cpu_time(4_194_305), resident_kb(4_194_305).await.is_none()), (None, true));
    }
}
