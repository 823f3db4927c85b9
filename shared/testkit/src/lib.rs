//! snapback-testkit
