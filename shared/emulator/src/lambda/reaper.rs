//! Sees to it that no process outlives the emulator, however the emulator ends.
//!
//! Dropping a child kills it, but an emulator that is itself killed drops nothing; and a function notices a broken Runtime
//! API only when it runs (a frozen one does not) and when its runtime client gives up (with concurrent polling it
//! retries for ever). So a small shell process, in a process group of its own, reads the ids of the function processes
//! from a pipe and kills those that are left when the pipe ends, which happens when the emulator is gone.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Lines `+ PID` and `- PID`; at the end of input each remaining process group is killed.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=' '
while read -r op pid; do
  case $op in
    +) pids="$pids$pid " ;;
    -) case $pids in *" $pid "*) pids="${pids%% $pid *} ${pids#* $pid }" ;; esac ;;
  esac
done
for pid in $pids; do kill -s KILL -- "-$pid" "$pid"; done 2>/dev/null
"#;

/// The shell process; started with the first function process.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    shell: Mutex<Option<(Child, ChildStdin)>>,
}

impl Reaper {
    /// Remembers a process that leads its own group.
    pub(super) fn watch(&self, pid: u32) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if shell.is_none() {
            *shell = start();
        }
        tell(shell.as_mut(), '+', pid);
    }

    /// Forgets a process that has ended.
    pub(super) fn forget(&self, pid: u32) {
        tell(self.shell.lock().unwrap_or_else(PoisonError::into_inner).as_mut(), '-', pid);
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let shell = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((mut child, stdin)) = shell.take() {
            drop(stdin);
            if let Err(error) = child.wait() {
                tracing::warn!(%error, "could not wait for the process that ends leftover functions");
            }
        }
    }
}

fn start() -> Option<(Child, ChildStdin)> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).env_clear().process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => child.stdin.take().map(|stdin| (child, stdin)),
        Err(error) => {
            tracing::warn!(%error, "could not start /bin/sh: functions may outlive an emulator that is killed");
            None
        }
    }
}

fn tell(shell: Option<&mut (Child, ChildStdin)>, op: char, pid: u32) {
    if let Some((_, stdin)) = shell
        && let Err(error) = writeln!(stdin, "{op} {pid}")
    {
        tracing::warn!(%error, pid, "the process that ends leftover functions is gone");
    }
}
