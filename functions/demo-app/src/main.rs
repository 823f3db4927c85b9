//! A small checkout API whose faults are switched by the environment of its version: what rehearsals deploy.
//!
//! Events are `{"path": "/health"}` and `{"path": "/checkout", ...}`; a rehearsal may add what the world outside does, as in
//! `{"dependency": {"fails": 0.6}}`. Answers are `{"statusCode": N, "body": "JSON text"}` as behind an API gateway. One process
//! serves many requests at once when `AWS_LAMBDA_MAX_CONCURRENCY` says so.

mod checkout;
mod emf;
mod faults;

use std::sync::Arc;

use checkout::{Checkout, Request};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = Arc::new(Checkout::from_env()?);
    app.init().await;
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<Request>| {
        let app = Arc::clone(&app);
        async move { app.answer(&event.payload).await }
    }))
    .await
}
