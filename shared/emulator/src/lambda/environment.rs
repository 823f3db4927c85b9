//! One execution environment: a process, its Runtime API, and the invocations it runs.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::config::Version;
use super::names::{qualified_arn, trace_id, uuid};
use super::observe::{Moment, Observer, ProcessMoment};
use crate::parts::REGION;

/// How long a process may take from its start to its first poll.
pub(super) const INIT_MAX: Duration = Duration::from_secs(10);

/// A process and what it runs. Made by [`super::Lambda`], which also supervises it.
pub(super) struct Environment {
    version: Version,
    phase: watch::Sender<Phase>,
    kill: watch::Sender<bool>,
    pid: Mutex<Option<u32>>,
    queue: mpsc::UnboundedSender<Delivery>,
    pub(super) next: tokio::sync::Mutex<mpsc::UnboundedReceiver<Delivery>>,
    running: Mutex<BTreeMap<String, Running>>,
    observer: Option<Observer>,
}

/// Life of an environment; it never goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The process has not polled yet.
    Init,
    /// It has.
    Ready,
    /// It is gone, or will be.
    Ended(Failure),
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Environment").field("function", &self.function()).finish_non_exhaustive()
    }
}

/// How an environment ended, as Lambda says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) error_type: String,
    pub(super) message: String,
    /// What the process posted as init error, answered word for word.
    pub(super) posted: Option<Bytes>,
}

/// What the process gets from one poll.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) request_id: String,
    pub(super) invocation_id: String,
    pub(super) deadline_ms: i64,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    pub(super) payload: Bytes,
}

/// What the process posted about one invocation.
#[derive(Debug)]
pub(super) enum Answer {
    Response(Bytes),
    Error { error_type: String, body: Bytes },
}

/// How one invocation ended.
#[derive(Debug)]
pub(super) enum Ending {
    Answered(Answer),
    TimedOut,
    Exited(Failure),
}

/// Why a post of the process is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such invocation is running here.
    RequestId,
    /// The invocation id that was echoed is another attempt's.
    InvocationId,
    /// Not in this phase: an init error after init.
    State,
}

#[derive(Debug)]
struct Running {
    invocation_id: String,
    done: oneshot::Sender<Answer>,
}

impl Failure {
    /// A failure that Lambda words.
    pub(super) fn new(error_type: &str, message: impl Into<String>) -> Self {
        Self { error_type: error_type.to_owned(), message: message.into(), posted: None }
    }

    /// How a process that is gone went.
    pub(super) fn exit(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let how = match (status.code(), status.signal()) {
            (Some(0), _) => {
                return Self::new("Runtime.ExitError", "Runtime exited without providing a reason");
            }
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(9)) => "signal: killed".to_owned(),
            (None, Some(signal)) => format!("signal: {signal}"),
            (None, None) => "unknown".to_owned(),
        };
        Self::new("Runtime.ExitError", format!("Runtime exited with error: {how}"))
    }
}

impl Environment {
    /// An environment of `version` without process.
    pub(super) fn new(version: Version, observer: Option<Observer>) -> Self {
        let (queue, next) = mpsc::unbounded_channel();
        Self {
            version,
            phase: watch::Sender::new(Phase::Init),
            kill: watch::Sender::new(false),
            pid: Mutex::new(None),
            queue,
            next: tokio::sync::Mutex::new(next),
            running: Mutex::default(),
            observer,
        }
    }

    /// `$LATEST` or a number.
    pub(super) fn version(&self) -> &str {
        &self.version.version
    }

    /// Name of its function.
    pub(super) fn function(&self) -> &str {
        &self.version.function
    }

    /// Whether it can take an invocation.
    pub(super) fn is_usable(&self) -> bool {
        !*self.kill.borrow() && !matches!(*self.phase.borrow(), Phase::Ended(_))
    }

    /// Its process id, while it has a process.
    pub(super) fn pid(&self) -> Option<u32> {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_pid(&self, pid: Option<u32>) {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = pid;
    }

    /// Tells who observes, while there is a process.
    pub(super) fn observed(&self, at: Instant, what: Moment<'_>) {
        if let (Some(observer), Some(pid)) = (&self.observer, self.pid()) {
            observer(&ProcessMoment { function: self.function(), pid, at, what });
        }
    }

    /// Asks its supervisor to kill the process.
    pub(super) fn kill(&self) {
        self.kill.send_replace(true);
    }

    /// Waits until [`Environment::kill`] was called.
    pub(super) async fn kill_asked(&self) {
        // An error would mean that the sender is gone, and it is ours.
        let _still_here = self.kill.subscribe().wait_for(|asked| *asked).await.is_ok();
    }

    /// The process has polled for the first time.
    pub(super) fn set_ready(&self) {
        self.phase.send_if_modified(|phase| {
            let is_first = *phase == Phase::Init;
            if is_first {
                *phase = Phase::Ready;
            }
            is_first
        });
    }

    /// The environment is gone; the first reason stands.
    pub(super) fn end(&self, failure: Failure) {
        self.phase.send_if_modified(|phase| {
            let is_news = !matches!(phase, Phase::Ended(_));
            if is_news {
                *phase = Phase::Ended(failure);
            }
            is_news
        });
    }

    /// The process has posted why it cannot start.
    pub(super) fn init_error(&self, error_type: &str, body: Bytes) -> Result<(), Refusal> {
        if *self.phase.borrow() != Phase::Init {
            return Err(Refusal::State);
        }
        self.end(Failure {
            error_type: error_type.to_owned(),
            message: "the function reported an error at init".to_owned(),
            posted: Some(body),
        });
        Ok(())
    }

    /// Waits until init is over, well or not.
    pub(super) async fn settled(&self) -> Result<(), Failure> {
        let mut phases = self.phase.subscribe();
        match phases.wait_for(|phase| *phase != Phase::Init).await.as_deref() {
            Ok(Phase::Ended(failure)) => Err(failure.clone()),
            Ok(Phase::Ready | Phase::Init) => Ok(()),
            Err(_) => Err(Failure::new("Runtime.ExitError", "the environment is gone")),
        }
    }

    /// Whether the process has polled and is not gone.
    pub(super) fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Ready
    }

    /// Stops the process without ending it (SIGSTOP).
    pub(super) async fn freeze(&self) {
        let Some(pid) = self.pid() else { return };
        // The shell has `kill` built in on every system; a separate `kill` may be missing.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "kill -s STOP \"$1\"", "sh", &pid.to_string()]).env_clear();
        match shell.stdin(Stdio::null()).stderr(Stdio::null()).status().await {
            Ok(status) if status.success() => {}
            Ok(status) => {
                tracing::warn!(pid, %status, "could not freeze a function's process: it is gone already")
            }
            Err(error) => {
                tracing::warn!(pid, %error, "could not run /bin/sh to freeze a function's process")
            }
        }
    }

    /// Runs one invocation in an environment that is ready. At the time-out the process is asked to be killed.
    pub(super) async fn run(&self, request_id: &str, qualifier: Option<&str>, payload: Bytes, now_ms: i64) -> Ending {
        let timeout = self.version.timeout;
        let invocation_id = uuid();
        let (done, answer) = oneshot::channel();
        let running = Running { invocation_id: invocation_id.clone(), done };
        self.running().insert(request_id.to_owned(), running);
        let delivery = Delivery {
            request_id: request_id.to_owned(),
            invocation_id,
            deadline_ms: now_ms + i64::try_from(timeout.as_millis()).unwrap_or(0),
            function_arn: qualified_arn(self.function(), qualifier),
            trace_id: trace_id(now_ms),
            payload,
        };
        let is_queued = self.queue.send(delivery).is_ok();
        debug_assert!(is_queued, "the receiver lives as long as the environment");
        let mut phases = self.phase.subscribe();
        let ending = tokio::select! {
            biased;
            Ok(answer) = answer => Ending::Answered(answer),
            Ok(phase) = phases.wait_for(|phase| matches!(phase, Phase::Ended(_))) => match &*phase {
                Phase::Ended(failure) => Ending::Exited(failure.clone()),
                Phase::Init | Phase::Ready => Ending::TimedOut,
            },
            () = tokio::time::sleep(timeout) => Ending::TimedOut,
        };
        self.running().remove(request_id);
        if matches!(ending, Ending::TimedOut) {
            self.kill();
        }
        ending
    }

    /// Takes what the process posted about an invocation.
    pub(super) fn finish(&self, request_id: &str, echoed: Option<&str>, answer: Answer) -> Result<(), Refusal> {
        let mut running = self.running();
        let known = running.get(request_id).ok_or(Refusal::RequestId)?;
        if echoed.is_some_and(|echoed| echoed != known.invocation_id) {
            return Err(Refusal::InvocationId);
        }
        let known = running.remove(request_id).ok_or(Refusal::RequestId)?;
        // The invocation may have timed out in this moment; then nobody listens any more.
        known.done.send(answer).map_err(|_| Refusal::RequestId)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a process is started with beside its version.
#[derive(Debug)]
pub(super) struct ProcessSettings<'a> {
    /// `host:port` of its Runtime API.
    pub(super) runtime_api: String,
    /// Base address of all AWS services.
    pub(super) endpoint: &'a str,
    pub(super) access_key: &'a str,
    pub(super) max_concurrency: u32,
    /// Name of its log stream: its version, and how many environments of that were started before it, and one.
    pub(super) log_stream: String,
    /// Something that dies at once in place of the function's binary.
    pub(super) dies_at_init: bool,
}

/// Starts the process of a version with Lambda's variables and nothing of ours.
pub(super) fn spawn(version: &Version, around: &ProcessSettings<'_>) -> std::io::Result<Child> {
    let folder = version.code.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| std::env::current_dir().unwrap_or_default(), std::path::Path::to_path_buf);
    let mut command = if around.dies_at_init {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo 'bootstrap: cannot execute' >&2; exit 1"]);
        shell
    } else {
        Command::new(&version.code)
    };
    let memory = version.memory_mb.to_string();
    let log_group = format!("/aws/lambda/{}", version.function);
    command.env_clear().envs([
        ("_HANDLER", "bootstrap"),
        ("AWS_ACCESS_KEY_ID", around.access_key),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ENDPOINT_URL", around.endpoint),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", version.function.as_str()),
        ("AWS_LAMBDA_FUNCTION_VERSION", version.version.as_str()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", log_group.as_str()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", around.log_stream.as_str()),
        ("AWS_LAMBDA_RUNTIME_API", around.runtime_api.as_str()),
        ("AWS_REGION", REGION),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("AWS_SESSION_TOKEN", "none"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        ("TZ", ":UTC"),
    ]);
    command.env("LAMBDA_TASK_ROOT", &folder).envs(&version.environment);
    if around.max_concurrency > 1 {
        command.env("AWS_LAMBDA_MAX_CONCURRENCY", around.max_concurrency.to_string());
    }
    command.current_dir(&folder).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn()
}
