//! How fast Snapback is: measured with the real binaries, on this machine, in one run (`make bench-coldstart`,
//! `make bench-reaction`, `make bench-sweep`).

pub mod coldstart;
