//! snapback-app
