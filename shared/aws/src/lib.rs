//! snapback-aws
