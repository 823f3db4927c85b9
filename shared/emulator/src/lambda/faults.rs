//! Faults that a rehearsal switches on and off per function.

/// What goes wrong with a function until it is switched off again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// New processes die at init; warm ones are thrown away when this is switched on.
    CannotStart,
    /// A process is stopped (SIGSTOP) the moment it would get an invocation, and killed at the time-out.
    Freeze,
    /// Every invocation ends in a function error without running.
    FailAll,
    /// What this function gives up may not be delivered to its on-failure destination.
    DenyDestination,
    /// Asynchronous events are accepted and never run, as when the queue loses them.
    Ignore,
}
