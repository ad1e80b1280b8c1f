//! An original, looked at whole: whether all of it decodes, and what is to be told of it.

use std::sync::Arc;

use serde_json::Value;

use super::wanted::Wanted;
use super::{Client, Error, Origin, info};
use crate::base::{Deadline, Work};
use crate::decode;
use crate::render::{self, Order, Urgency};

/// What a look at an original brings.
#[derive(Clone, PartialEq, Debug)]
pub struct Examined {
    /// As `info.json` has it.
    pub facts: Value,
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
        let mut stages = crate::base::Stages::default();
        let fetched = self.original(&wanted, &client, &mut stages, &work).await?;
        let order = self.sample_order(&wanted, &fetched, &work).await?;
        drop(fetched);
        let needed = order.bytes_of_sample(true)?;
        self.renderer.budget().check(needed)?;
        let charge = self.renderer.budget().charge(needed, deadline).await?;
        let look = move |work: &Work| examine(&order, work);
        Ok(Examined { facts: self.renderer.run_as(Urgency::Ahead, Some(charge), &work, look).await? })
    }
}

fn examine(order: &Order, work: &Work) -> Result<Value, render::Error> {
    let broken = |what: &str| decode::Error::Broken { format: order.header.format, what: what.to_owned() };
    let (sample, damaged) = render::still::sample(order, true, work)?;
    if damaged {
        return Err(broken("it ends early, or a part of it cannot be read").into());
    }
    if order.header.frames > 1 {
        let mut frames = decode::frames(&order.source, &order.header, &order.limits)?;
        while frames.next(work)?.is_some() {}
        if frames.damaged() {
            return Err(broken("one of its frames cannot be read").into());
        }
    }
    Ok(info::facts(order, &sample))
}
