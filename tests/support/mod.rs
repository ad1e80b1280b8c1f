//! What the tests start and ask: servers, and little else.
#![allow(dead_code)]

pub mod api;
pub mod fovea;
pub mod hostile;
pub mod load;
pub mod nats;
pub mod origin;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod seaweedfs;
