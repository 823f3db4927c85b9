//! Environment variables.

/// Environment variables, or a table of them in a test.
pub trait Environment {
    /// The value of `name`; `None` when it is missing or empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// The variables of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}
