//! An original, looked at: what is to be told of it, and whether all of it decodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::fetch::Fetched;
use super::wanted::Wanted;
use super::{Client, Error, Origin, info};
use crate::base::{Deadline, Format, Stages, Work};
use crate::decode::{self, Header};
use crate::plan::Plan;
use crate::render::{self, Job, Order, Target, Urgency};

/// The side of the small picture that colours and hashes are taken from.
const SAMPLE_SIDE: u32 = 100;

/// What a look at an original brings.
#[derive(Clone, PartialEq, Debug)]
pub struct Examined {
    /// As `info.json` has it.
    pub facts: Value,
}

/// A look at an original by a small form of it.
struct Examination {
    order: Order,
    /// Whether all of it is decoded, every frame too.
    whole: bool,
}

impl Origin {
    /// Decodes an original whole, every frame of it, and tells what there is to tell. `path` is that of its `info.json`.
    ///
    /// # Errors
    /// [`decode::Error::Broken`] also for an original of which a part could be saved.
    pub async fn examine(self: &Arc<Self>, path: &str, deadline: Deadline) -> Result<Examined, Error> {
        let request = self.urls().read_trusted(path)?;
        let category = self.category(&request.category)?;
        let (client, work) = (Client::default(), Work::until(deadline));
        let wanted = Wanted::new(category, &request, &client, None);
        let fetched = self.original(&wanted, &client, &mut Stages::default(), &work).await?;
        let facts = self.facts(&wanted, &client, fetched, true, Urgency::Ahead, &work).await?;
        Ok(Examined { facts })
    }

    /// What is to be told of an original; an error where a part of it cannot be read that is looked at.
    pub(super) async fn facts(
        &self,
        wanted: &Wanted,
        client: &Client,
        fetched: Arc<Fetched>,
        whole: bool,
        urgency: Urgency,
        work: &Work,
    ) -> Result<Value, Error> {
        let build = |source: Bytes, header: Arc<Header>| Examination {
            order: Order {
                source,
                original: header.clone(),
                header,
                plan: Arc::new(Plan::within(SAMPLE_SIDE, SAMPLE_SIDE)),
                target: Target::Format(Format::Png),
                look: wanted.category.look.clone(),
                limits: wanted.category.limits,
            },
            whole,
        };
        let header = self.probe(wanted, &fetched.bytes, work).await?;
        let examination = build(fetched.bytes.clone(), header);
        drop(fetched);
        let perform = |examination, charge| self.renderer.perform(examination, charge, urgency, work);
        self.on_original(wanted, client, examination, build, perform, work).await
    }
}

impl Job for Examination {
    type Output = Value;

    fn bytes_of_work(&self) -> Result<u64, render::Error> {
        self.order.bytes_of_sample(self.whole)
    }

    fn source(&self) -> &Bytes {
        &self.order.source
    }

    fn run(self, _: Duration, work: &Work) -> Result<Value, render::Error> {
        let Self { order, whole } = self;
        let broken = |what: &str| decode::Error::Broken { format: order.header.format, what: what.to_owned() };
        let (sample, damaged) = render::still::sample(&order, whole, work)?;
        if whole && damaged {
            return Err(broken("it ends early, or a part of it cannot be read").into());
        }
        if whole && order.header.frames > 1 {
            let mut frames = decode::frames(&order.source, &order.header, &order.limits)?;
            while frames.next(work)?.is_some() {}
            if frames.damaged() {
                return Err(broken("one of its frames cannot be read").into());
            }
        }
        Ok(info::facts(&order, &sample))
    }
}
