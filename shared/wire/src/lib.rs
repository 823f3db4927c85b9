//! snapback-wire
