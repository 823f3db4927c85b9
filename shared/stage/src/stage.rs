//! Puts the parts of the embedded AWS together and ends them together.
//!
//! ```text
//! let ground  = Ground::bind(config).await?;            // the endpoint listens: ground.endpoint()
//! let lambda  = …;                                      // needs the endpoint: its processes call it
//! let bus     = ground.event_bus(lambda.clone());
//! let cloudwatch = …;                                   // hands alarm changes to bus.publish_alarm_change
//! let stage   = Stage::start(ground, bus, lambda, alarms)?;
//! stage.gateway.register("lambda", lambda_service);
//! stage.gateway.register("cloudwatch", cloudwatch_service);
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::access::Access;
use crate::clock::StageClock;
use crate::codedeploy::{CodeDeploy, Surroundings};
use crate::dynamodb::{DynamoDb, OpenError};
use crate::event_bus::EventBus;
use crate::gateway::Gateway;
use crate::parts::{AlarmReader, LambdaControl};
use crate::scheduler::Scheduler;
use crate::sns::Sns;
use crate::ssm::Ssm;
use crate::tasks::Tasks;

/// How a stage is set up.
#[derive(Debug, Clone)]
pub struct StageConfig {
    /// How long an AWS minute lasts; 60 s is real time.
    pub minute: Duration,
    /// Port on 127.0.0.1; `None` = a free one.
    pub port: Option<u16>,
    /// SQLite file of the tables; `None` = in memory.
    pub store: Option<PathBuf>,
}

/// Why a stage did not start.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The port is taken or may not be used.
    #[error("could not listen on 127.0.0.1:{}; choose another port or leave it out", port.map_or_else(|| "any".to_owned(), |port| port.to_string()))]
    Listen {
        /// The port asked for.
        port: Option<u16>,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The table file cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// What all parts stand on: clock, tasks, access rules and the endpoint, which listens already but serves nothing.
pub struct Ground {
    /// Scales AWS time.
    pub clock: StageClock,
    /// Background tasks of all parts.
    pub tasks: Tasks,
    /// Faults and the call log.
    pub access: Access,
    /// The endpoint.
    pub gateway: Gateway,
    address: SocketAddr,
    config: StageConfig,
}

impl Ground {
    /// Starts the endpoint. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be used.
    pub async fn bind(config: StageConfig) -> Result<Self, StageError> {
        let clock = StageClock::new(config.minute);
        let tasks = Tasks::new(Handle::current());
        let access = Access::new(clock);
        let gateway = Gateway::new(access.clone());
        let port = config.port;
        let address = gateway
            .listen(port, &tasks)
            .await
            .map_err(|cause| StageError::Listen { port, cause })?;
        Ok(Self {
            clock,
            tasks,
            access,
            gateway,
            address,
            config,
        })
    }

    /// URL for `AWS_ENDPOINT_URL`, for example `http://127.0.0.1:4566`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The event bus; it delivers to `lambda`.
    #[must_use]
    pub fn event_bus(&self, lambda: Arc<dyn LambdaControl>) -> EventBus {
        EventBus::new(self.clock, self.tasks.clone(), lambda)
    }
}

/// A running stage. Dropping it ends all its tasks and connections.
pub struct Stage {
    /// Scales AWS time.
    pub clock: StageClock,
    /// Faults and the call log.
    pub access: Access,
    /// The endpoint; more services can be registered at any time.
    pub gateway: Gateway,
    /// EventBridge.
    pub bus: EventBus,
    /// CodeDeploy.
    pub codedeploy: CodeDeploy,
    /// EventBridge Scheduler.
    pub scheduler: Scheduler,
    /// SNS.
    pub sns: Arc<Sns>,
    /// SSM Parameter Store.
    pub ssm: Arc<Ssm>,
    /// DynamoDB.
    pub dynamodb: Arc<DynamoDb>,
    address: SocketAddr,
    tasks: Tasks,
}

impl Stage {
    /// Makes the parts that live here and registers them. `lambda` runs functions, `alarms` says alarm states; their own
    /// APIs are registered by whoever made them (see the module's example).
    ///
    /// # Errors
    /// When the table file cannot be used.
    pub fn start(
        ground: Ground,
        bus: EventBus,
        lambda: Arc<dyn LambdaControl>,
        alarms: Arc<dyn AlarmReader>,
    ) -> Result<Self, StageError> {
        let Ground {
            clock,
            tasks,
            access,
            gateway,
            address,
            config,
        } = ground;
        let dynamodb = Arc::new(DynamoDb::open(config.store.as_deref())?);
        let codedeploy = CodeDeploy::new(Surroundings {
            clock,
            tasks: tasks.clone(),
            lambda: lambda.clone(),
            alarms,
            bus: bus.clone(),
            access: access.clone(),
        });
        let scheduler = Scheduler::new(clock, tasks.clone(), lambda);
        let sns = Arc::new(Sns::new(clock));
        let ssm = Arc::new(Ssm::new(clock));
        gateway.register("codedeploy", Arc::new(codedeploy.clone()));
        gateway.register("events", Arc::new(bus.clone()));
        gateway.register("scheduler", Arc::new(scheduler.clone()));
        gateway.register("sns", sns.clone());
        gateway.register("ssm", ssm.clone());
        gateway.register("dynamodb", dynamodb.clone());
        Ok(Self {
            clock,
            access,
            gateway,
            bus,
            codedeploy,
            scheduler,
            sns,
            ssm,
            dynamodb,
            address,
            tasks,
        })
    }

    /// URL for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all tasks and connections; what was recorded stays readable.
    pub fn shutdown(&self) {
        self.gateway.stop();
        self.tasks.abort_all();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown();
    }
}
