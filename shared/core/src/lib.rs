//! snapback-core
