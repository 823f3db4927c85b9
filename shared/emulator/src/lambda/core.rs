//! What all parts of Lambda share, and the processes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::config::Version;
use super::environment::{self, Environment, Failure, INIT_MAX, ProcessSettings};
use super::events::LambdaEvent;
use super::faults::Fault;
use super::log::{LogBook, LogLine, LogSource};
use super::metrics::Metrics;
use super::observe::{Moment, Observer};
use super::reaper::Reaper;
use super::runtime_api;
use super::state::{Function, Pooled, State};
use crate::access::Access;
use crate::clock::Clock;
use crate::parts::MetricSink;
use crate::queues::Queues;

/// Events kept for a receiver that is slow.
const EVENTS_KEPT: usize = 4_096;
/// How long the output of a process is read after its end; a grandchild may hold it open.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Shared by handles and background tasks.
pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) endpoint: String,
    pub(super) metrics: Metrics,
    pub(super) log: LogBook,
    pub(super) events: broadcast::Sender<LambdaEvent>,
    /// Number of processes that are not reaped yet.
    pub(super) processes: watch::Sender<usize>,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) runtime: Handle,
    pub(super) split: Mutex<fastrand::Rng>,
    functions_folder: Mutex<Option<PathBuf>>,
    around: OnceLock<(Access, Queues)>,
    observer: OnceLock<Observer>,
    state: Mutex<State>,
    reaper: Reaper,
}

/// Held by handles only, so that background tasks do not keep processes alive.
pub(super) struct StopOnDrop(watch::Sender<bool>);

impl StopOnDrop {
    pub(super) fn of(core: &Core) -> Self {
        Self(core.stopping.clone())
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Core {
    pub(super) fn new(clock: Clock, endpoint: String, metrics: Arc<dyn MetricSink>, seed: u64) -> Self {
        Self {
            clock,
            endpoint,
            metrics: Metrics(metrics),
            log: LogBook::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            processes: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            runtime: Handle::current(),
            split: Mutex::new(fastrand::Rng::with_seed(seed)),
            functions_folder: Mutex::default(),
            around: OnceLock::new(),
            observer: OnceLock::new(),
            state: Mutex::default(),
            reaper: Reaper::default(),
        }
    }

    /// Functions, versions, aliases. Never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every process to end; refuses what comes later.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until [`Core::stop`] was called.
    pub(super) async fn stopped(&self) {
        let _stopped = self.stopping.subscribe().wait_for(|stopping| *stopping).await.is_ok();
    }

    pub(super) fn functions_folder(&self) -> Option<PathBuf> {
        self.functions_folder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_functions_folder(&self, folder: PathBuf) {
        *self.functions_folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
    }

    /// Roles and queues; none of them where Lambda stands alone.
    pub(super) fn around(&self) -> Option<&(Access, Queues)> {
        self.around.get()
    }

    /// See [`super::Lambda::connect`]; only the first call counts.
    pub(super) fn connect(&self, access: Access, queues: Queues) {
        let _first = self.around.set((access, queues)).is_ok();
    }

    /// See [`super::Lambda::observe`]; only the first call counts.
    pub(super) fn observe(&self, observer: Observer) {
        let _first = self.observer.set(observer).is_ok();
    }

    /// Tells subscribers; nobody listening is fine.
    pub(super) fn tell(&self, event: LambdaEvent) {
        let _listeners = self.events.send(event).unwrap_or(0);
    }

    /// Writes a line of Lambda's own into a function's log.
    pub(super) fn note(&self, environment: &Environment, text: impl Into<String>) {
        self.write(environment, LogSource::Platform, text.into());
    }

    /// An environment for one more invocation of `version`: a warm one with room, else a new one.
    pub(super) fn environment_for(self: &Arc<Self>, function: &mut Function, version: &Version) -> Arc<Environment> {
        let room = function.max_concurrency_per_environment;
        let warm = function.environments.iter_mut().find(|pooled| {
            !pooled.is_retired
                && pooled.active < room
                && pooled.environment.version() == version.version
                && pooled.environment.is_usable()
        });
        if let Some(pooled) = warm {
            pooled.active += 1;
            return Arc::clone(&pooled.environment);
        }
        let environment = Arc::new(Environment::new(version.clone(), self.observer.get().cloned()));
        let number = function.started.entry(version.version.clone()).or_default();
        *number += 1;
        let log_stream = format!("emulator/[{}]{number}", version.version);
        let dies_at_init = function.faults.contains(&Fault::CannotStart);
        if let Err(error) = self.start(&environment, version, function, log_stream, dies_at_init) {
            let path = version.code.display();
            environment.end(Failure::new("Runtime.InvalidEntrypoint", format!("fork/exec {path}: {error}")));
        } else {
            let environment = Arc::clone(&environment);
            function.environments.push(Pooled { environment, active: 1, is_retired: false });
        }
        environment
    }

    fn start(
        self: &Arc<Self>,
        environment: &Arc<Environment>,
        version: &Version,
        function: &Function,
        log_stream: String,
        dies_at_init: bool,
    ) -> std::io::Result<()> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let around = ProcessSettings {
            runtime_api: listener.local_addr()?.to_string(),
            endpoint: &self.endpoint,
            access_key: &function.access_key,
            max_concurrency: function.max_concurrency_per_environment,
            log_stream,
            dies_at_init,
        };
        let before = Instant::now();
        let child = environment::spawn(version, &around)?;
        environment.set_pid(child.id());
        environment.observed(before, Moment::Started);
        if let Some(pid) = child.id() {
            self.reaper.watch(pid);
        }
        self.processes.send_modify(|count| *count += 1);
        let server = self.runtime.spawn(runtime_api::serve(listener, Arc::clone(environment)));
        self.runtime.spawn(supervise(Arc::clone(self), Arc::clone(environment), child, server));
        Ok(())
    }

    fn forget(&self, environment: &Arc<Environment>) {
        if let Ok(function) = self.state().get_mut(environment.function()) {
            function.environments.retain(|pooled| !Arc::ptr_eq(&pooled.environment, environment));
        }
    }

    fn write(&self, environment: &Environment, source: LogSource, text: String) {
        let version = environment.version().to_owned();
        self.log.push(environment.function(), LogLine { at_ms: self.clock.now_ms(), version, source, text });
    }
}

/// Follows a process to its end, and ends it when asked to.
async fn supervise(core: Arc<Core>, environment: Arc<Environment>, mut child: Child, server: JoinHandle<()>) {
    let pid = child.id();
    let stdout =
        child.stdout.take().map(|pipe| read(Arc::clone(&core), Arc::clone(&environment), pipe, LogSource::Stdout));
    let stderr =
        child.stderr.take().map(|pipe| read(Arc::clone(&core), Arc::clone(&environment), pipe, LogSource::Stderr));
    let readers = core.runtime.spawn(async move {
        tokio::join!(
            async {
                if let Some(read) = stdout {
                    read.await
                }
            },
            async {
                if let Some(read) = stderr {
                    read.await
                }
            }
        );
    });
    let failure = match until_gone(&core, &environment, &mut child).await {
        Ok(status) => Failure::exit(status),
        Err(error) => Failure::new("Runtime.ExitError", format!("could not wait for the process: {error}")),
    };
    if let Some(pid) = pid {
        core.reaper.forget(pid);
    }
    environment.observed(Instant::now(), Moment::Ended);
    environment.set_pid(None);
    if tokio::time::timeout(DRAIN_MAX, readers).await.is_err() {
        core.note(&environment, "the output of the process is held open by another process");
    }
    core.note(&environment, failure.message.clone());
    server.abort();
    core.forget(&environment);
    environment.end(failure);
    core.processes.send_modify(|count| *count -= 1);
}

async fn until_gone(
    core: &Core,
    environment: &Environment,
    child: &mut Child,
) -> std::io::Result<std::process::ExitStatus> {
    let init_over = tokio::time::sleep(INIT_MAX);
    tokio::select! {
        status = child.wait() => return status,
        () = environment.kill_asked() => {}
        () = core.stopped() => {}
        () = async {
            init_over.await;
            if environment.is_ready() {
                std::future::pending::<()>().await;
            }
        } => {
            let limit = INIT_MAX.as_secs_f64();
            environment.end(Failure::new("Sandbox.Timedout", format!("INIT timed out after {limit:.2} seconds")));
        }
    }
    // Also ends a process that is stopped. It is an error only when the process is gone already.
    if let Err(error) = child.start_kill() {
        tracing::debug!(%error, function = environment.function(), "the process had ended before it was killed");
    }
    child.wait().await
}

async fn read(core: Arc<Core>, environment: Arc<Environment>, pipe: impl AsyncRead + Unpin, source: LogSource) {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                if source == LogSource::Stdout {
                    core.metrics.0.log_line(environment.function(), &text);
                }
                core.write(&environment, source, text);
            }
            Err(error) => {
                core.note(&environment, format!("could not read the output of the process: {error}"));
                return;
            }
        }
    }
}
