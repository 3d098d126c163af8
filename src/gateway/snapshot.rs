//! What one worker serves by: a plan, and for each thing in it what this worker alone has of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::passage::Place;
use crate::credential::cell::View;
use crate::dial::Endpoint;
use crate::dial::resolver::Resolver;
use crate::metrics;
use crate::plan::{Plan, Target};
use crate::shutdown::ending::Signal;
use crate::upstream::Upstream;
use crate::upstream::pool::Pool;

/// A plan with what this worker alone has of it. Requests share it by a count that no other thread
/// touches.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) plan: Arc<Plan>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) views: Vec<RefCell<View>>,
    /// The targets, as they are counted here.
    pub(super) places: Vec<Rc<Place>>,
    /// Where requests are counted that come to no target.
    pub(super) nowhere: Rc<Place>,
    /// What tells connections that have left HTTP that the way to their target is another one now.
    pub(super) turns: Vec<Rc<Signal>>,
}

impl Snapshot {
    /// `before` is the snapshot that this one follows: pools of the same places are taken over with
    /// their connections.
    pub(super) fn new(
        plan: Arc<Plan>,
        resolver: &Resolver,
        counts: &metrics::Worker,
        before: Option<&Self>,
    ) -> Self {
        let former: Vec<&Rc<Pool>> = before
            .into_iter()
            .flat_map(|it| it.upstreams.iter().flat_map(Upstream::pools))
            .collect();
        let pool = |endpoint: &Arc<Endpoint>, counts: &Arc<metrics::Target>| {
            let is_same = |it: &&&Rc<Pool>| it.serves(endpoint) && Arc::ptr_eq(it.counts(), counts);
            let same = former.iter().find(is_same);
            let (endpoint, counts) = (Arc::clone(endpoint), Arc::clone(counts));
            let new = || Rc::new(Pool::new(endpoint, resolver.clone(), counts));
            same.map_or_else(new, |it| Rc::clone(it))
        };
        let places: Vec<Rc<Place>> = plan
            .targets
            .iter()
            .map(|target| Rc::new(Place::of(target, &plan, counts)))
            .collect();
        let upstream = |(target, place): (&Target, &Rc<Place>)| {
            let endpoints = target.endpoints.iter();
            let pools = endpoints.map(|it| pool(it, &place.counts));
            let kept_back = target.respond.kept_back().into();
            Upstream::new(pools.collect(), target.spread, kept_back)
        };
        let upstreams = plan.targets.iter().zip(&places).map(upstream).collect();
        let views = plan
            .credentials
            .iter()
            .map(|credential| credential.view())
            .collect();
        let turn = |target: usize| {
            let same = before.and_then(|it| {
                let place = plan.leads_as(target, &it.plan)?;
                Some(Rc::clone(&it.turns[place]))
            });
            same.unwrap_or_default()
        };
        let turns = (0..plan.targets.len()).map(turn).collect();
        Self {
            plan,
            upstreams,
            views,
            places,
            nowhere: Rc::new(Place::nowhere(counts)),
            turns,
        }
    }

    /// Tells connections that have left HTTP whose way is none of the next snapshot's.
    pub(super) fn turn_to(&self, next: &Self) {
        let goes_on = |turn: &&Rc<Signal>| next.turns.iter().any(|it| Rc::ptr_eq(it, turn));
        let over = self.turns.iter().filter(|it| !goes_on(it));
        over.for_each(|it| it.begin());
    }
}
