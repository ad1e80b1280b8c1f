//! The origin's shape, until the story itself is here: `http` compiles against it. To be deleted with its two lines in `mod.rs`.
#![allow(missing_docs, unused_variables, clippy::unused_async)]

use std::sync::Arc;

use super::{Answer, Client, Error, Policy};
use crate::{base::Deadline, plan};

pub struct Origin;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purge {
    Asset { category: String, id: String },
    Category(String),
    Preset { category: String, preset: String },
    Url(String),
}

pub struct Purged {
    pub memory: u64,
    pub store: u64,
}

pub struct Component {
    pub name: String,
    pub state: State,
    pub detail: String,
}

pub enum State {
    Up,
    Degraded,
    Down,
}

impl Origin {
    pub fn read(&self, path: &str) -> Result<plan::Request, plan::Error> {
        todo!()
    }
    pub fn policy(&self, category: &str) -> Option<Arc<Policy>> {
        todo!()
    }
    pub fn peek(&self, request: &plan::Request, client: &Client) -> Option<Answer> {
        todo!()
    }
    pub async fn answer(
        self: &Arc<Self>,
        request: plan::Request,
        client: Client,
        until: Deadline,
    ) -> Result<Answer, Error> {
        todo!()
    }
    pub async fn purge(&self, what: &Purge) -> Result<Purged, Error> {
        todo!()
    }
    pub fn health(&self) -> Vec<Component> {
        todo!()
    }
    pub fn ready(&self) -> bool {
        todo!()
    }
}
