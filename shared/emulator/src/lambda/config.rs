//! What a function is configured with, and the document that says it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::names::{qualified_arn, timestamp};
use crate::parts::{ACCOUNT, ApiError};

/// Variables that Lambda sets itself: a function's own environment may not name them.
const RESERVED: [&str; 16] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// A new function. [`FunctionConfig::new`] gives Lambda's defaults; change the members that matter.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    /// Name: 1 to 64 letters, digits, `-` or `_`.
    pub name: String,
    /// The binary to run. Version and environment differ between versions, the binary may be the same.
    pub code: PathBuf,
    /// The uploaded package, of which `CodeSha256` is made; `None`: the binary itself.
    pub package: Option<Vec<u8>>,
    /// Text for people.
    pub description: String,
    /// The function's own variables, at most 4 KB together; Lambda's are added.
    pub environment: BTreeMap<String, String>,
    /// 1 s to 15 min (fractions are for tests).
    pub timeout: Duration,
    /// 128 to 10,240; only reported, not enforced.
    pub memory_mb: u32,
    /// Most invocations at once; `None` = as the account allows.
    pub reserved_concurrency: Option<u32>,
    /// Invocations that one process serves at once; above 1 the binary must be built for it.
    pub max_concurrency_per_environment: u32,
    /// Retries, event age and destination of asynchronous events.
    pub async_config: AsyncConfig,
    /// `AWS_ACCESS_KEY_ID` of its processes: by it the emulator knows who calls.
    pub access_key: String,
    /// ARN of its execution role; only reported.
    pub role: String,
    /// Tags, by which policies tell functions apart.
    pub tags: BTreeMap<String, String>,
    /// Statements of its resource policy; only reported, what is allowed is decided by `iam`.
    pub permissions: Vec<Value>,
}

impl FunctionConfig {
    /// A function with Lambda's defaults: 3 s, 128 MB, no reserved concurrency, one invocation per process.
    #[must_use]
    pub fn new(name: impl Into<String>, code: impl Into<PathBuf>, access_key: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            role: format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
            name,
            code: code.into(),
            package: None,
            description: String::new(),
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            reserved_concurrency: None,
            max_concurrency_per_environment: 1,
            async_config: AsyncConfig::default(),
            access_key: access_key.into(),
            tags: BTreeMap::new(),
            permissions: Vec::new(),
        }
    }
}

/// What happens to asynchronous events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncConfig {
    /// Further attempts after a function error: 0 to 2.
    pub max_retries: u32,
    /// Events older than this are given up: 60 s to 6 h in AWS time (the emulator's clock scales it).
    pub max_event_age: Duration,
    /// ARN of the function or the queue that gets what was given up.
    pub on_failure: Option<String>,
}

impl Default for AsyncConfig {
    /// 2 retries, 6 hours, no destination.
    fn default() -> Self {
        Self { max_retries: 2, max_event_age: Duration::from_secs(6 * 60 * 60), on_failure: None }
    }
}

/// Changes of `$LATEST`; `None` keeps what is there.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationChange {
    /// All of the function's own variables.
    pub environment: Option<BTreeMap<String, String>>,
    /// Text for people.
    pub description: Option<String>,
    /// 1 s to 15 min.
    pub timeout: Option<Duration>,
    /// 128 to 10,240.
    pub memory_mb: Option<u32>,
}

/// `$LATEST` or a published version: what runs, frozen when published.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) function: String,
    /// `$LATEST` or a number.
    pub(super) version: String,
    pub(super) code: PathBuf,
    pub(super) code_sha256: String,
    pub(super) code_size: u64,
    pub(super) description: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) timeout: Duration,
    pub(super) memory_mb: u32,
    pub(super) role: String,
    pub(super) last_modified_ms: i64,
    pub(super) revision_id: String,
}

impl Version {
    /// The document of `GetFunctionConfiguration`; `qualifier` is what the ARN ends in, if anything.
    pub(super) fn document(&self, qualifier: Option<&str>) -> Value {
        let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" };
        json!({
            "FunctionName": self.function,
            "FunctionArn": qualified_arn(&self.function, qualifier),
            "Runtime": "provided.al2023",
            "Role": self.role,
            "Handler": "bootstrap",
            "CodeSize": self.code_size,
            "Description": self.description,
            "Timeout": self.timeout.as_secs(),
            "MemorySize": self.memory_mb,
            "LastModified": timestamp(self.last_modified_ms, "+0000"),
            "CodeSha256": self.code_sha256,
            "Version": self.version,
            "Environment": { "Variables": self.environment },
            "TracingConfig": { "Mode": "PassThrough" },
            "RevisionId": self.revision_id,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": [architecture],
            "EphemeralStorage": { "Size": 512 },
            "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        })
    }

    /// Reads the binary and remembers its size and SHA-256 (base64, as Lambda says it).
    pub(super) fn load_code(&mut self, code: PathBuf, package: Option<Vec<u8>>) -> Result<(), ApiError> {
        let read = || {
            std::fs::read(&code).map_err(|error| {
                invalid(format!("could not read the binary {} of function {}: {error}", code.display(), self.function))
            })
        };
        let bytes = package.map_or_else(read, Ok)?;
        self.code_sha256 = super::names::base64(&Sha256::digest(&bytes));
        self.code_size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.code = code;
        Ok(())
    }

    /// Checks what Lambda would refuse.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let name_is_valid = (1..=64).contains(&self.function.len())
            && self.function.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !name_is_valid {
            return Err(invalid(format!("function name `{}` is not 1 to 64 of [a-zA-Z0-9-_]", self.function)));
        }
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(900) {
            return Err(invalid(format!("Timeout is {} s, allowed is 1 to 900", self.timeout.as_secs())));
        }
        if !(128..=10_240).contains(&self.memory_mb) {
            return Err(invalid(format!("MemorySize is {}, allowed is 128 to 10240", self.memory_mb)));
        }
        let size: usize = self.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > 4096 {
            return Err(invalid(format!("Environment.Variables take {size} bytes, allowed are 4096")));
        }
        match self.environment.keys().find(|name| RESERVED.contains(&name.as_str())) {
            Some(name) => Err(invalid(format!("Environment.Variables names `{name}`, which is reserved by Lambda"))),
            None => Ok(()),
        }
    }
}

impl AsyncConfig {
    /// Checks what Lambda would refuse.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.max_retries > 2 {
            return Err(invalid(format!("MaximumRetryAttempts is {}, allowed is 0 to 2", self.max_retries)));
        }
        let age_s = self.max_event_age.as_secs();
        if !(60..=21_600).contains(&age_s) {
            return Err(invalid(format!("MaximumEventAgeInSeconds is {age_s}, allowed is 60 to 21600")));
        }
        match &self.on_failure {
            Some(arn) if !arn.starts_with("arn:aws:lambda:") && !arn.starts_with("arn:aws:sqs:") => Err(invalid(
                format!("OnFailure.Destination is `{arn}`: the emulator delivers to Lambda functions and queues only"),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// `InvalidParameterValueException`.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValueException", message)
}
