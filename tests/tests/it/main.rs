//! Integration tests: the `tidegate` binary, real functions, a real Apache Kafka.
//!
//! One binary, so that one broker serves all of them. `make test` builds what they need and runs
//! them; afterwards `cargo test -p tidegate-tests --test it NAME` runs some.

mod address;
mod admin;
mod author;
mod author_go;
mod aws;
mod bindings_go;
mod broker;
mod dev;
mod exact;
mod examples;
mod files;
mod folders;
mod golden;
mod golden_http;
mod group;
mod harness;
mod http;
mod http_go;
mod http_sdk;
mod instance;
mod invoke;
mod languages;
mod layout;
mod log;
mod manifest;
mod numbered;
mod operating;
mod operator;
mod pipe;
mod poison;
mod refusals;
mod reload;
mod restart;
mod s3;
mod signals;
mod signatures;
mod start;
mod traffic;
mod variables;
