//! Where a connection stands, told by those who read, write and answer on it, so that one timer of
//! its task can see to all of its deadlines.
//!
//! All of them are one task, and nothing here is ever waited for. It is atomic because a connection
//! whose protocol is switched may be carried on by another task.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use super::framing::Fault;

/// What was read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// The end of a request, or nothing yet.
    #[default]
    Between = 0,
    /// A part of a head.
    Head = 1,
    /// A part of a body.
    Body = 2,
}

/// What the task of a connection has it do when it is next looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// Go on.
    #[default]
    GoOn = 0,
    /// Say that the request's head came too late, and close.
    Late = 1,
    /// Ask the system whether the caller is gone.
    Look = 2,
}

/// The one page that all of them write on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    place: AtomicU8,
    order: AtomicU8,
    answering: AtomicU32,
    turn: AtomicU32,
    written: AtomicU32,
    cancelled: AtomicU32,
    is_reading: AtomicBool,
    is_stalled: AtomicBool,
    is_held: AtomicBool,
    is_switched: AtomicBool,
    /// What is wrong with a head.
    fault: OnceLock<Fault>,
}

impl Pace {
    /// What was read last.
    pub(super) fn place(&self) -> Place {
        match self.place.load(Relaxed) {
            0 => Place::Between,
            1 => Place::Head,
            _ => Place::Body,
        }
    }

    /// What was read is no head of a request.
    pub(super) fn has_found(&self, fault: Fault) {
        // The first is the last that is read.
        let _ = self.fault.set(fault);
    }

    /// What is wrong with a head that was read.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get().copied()
    }

    /// Something was read, and nobody waits for more until they say so.
    pub(super) fn has_read(&self, place: Place) {
        self.place.store(place as u8, Relaxed);
        self.is_reading.store(false, Relaxed);
    }

    /// Whether the socket would wake the connection if the caller went away.
    pub(super) fn is_reading(&self) -> bool {
        self.is_reading.load(Relaxed)
    }

    /// Nothing is there to be read, and the socket is waited for.
    pub(super) fn waits_to_read(&self) {
        self.is_reading.store(true, Relaxed);
    }

    /// Reading is held back until what was asked is answered.
    pub(super) fn hold(&self) {
        self.is_reading.store(false, Relaxed);
        self.is_held.store(true, Relaxed);
    }

    /// Whether reading was held back and may go on: nobody else wakes it.
    pub(super) fn release(&self) -> bool {
        self.is_held.load(Relaxed) && self.is_settled() && self.is_held.swap(false, Relaxed)
    }

    /// Whether all that was asked is answered and on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.answering() == 0 && !self.is_stalled()
    }

    /// Bytes were taken by the socket.
    pub(super) fn has_written(&self) {
        self.written.store(self.written().wrapping_add(1), Relaxed);
        self.is_stalled.store(false, Relaxed);
    }

    /// The socket takes no more bytes.
    pub(super) fn stall(&self) {
        self.is_stalled.store(true, Relaxed);
    }

    /// The socket has all that was written.
    pub(super) fn has_flushed(&self) {
        self.is_stalled.store(false, Relaxed);
    }

    /// Whether bytes wait for the socket to take them.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Relaxed)
    }

    /// Counts what was written.
    pub(super) fn written(&self) -> u32 {
        self.written.load(Relaxed)
    }

    /// How many requests are being answered.
    pub(super) fn answering(&self) -> u32 {
        self.answering.load(Relaxed)
    }

    /// Counts beginnings and ends of answers.
    pub(super) fn turn(&self) -> u32 {
        self.turn.load(Relaxed)
    }

    /// An answer was not wanted to its end.
    pub(super) fn cancel(&self) {
        let cancelled = self.cancelled().wrapping_add(1);
        self.cancelled.store(cancelled, Relaxed);
    }

    /// Counts answers that were not wanted to their end.
    pub(super) fn cancelled(&self) -> u32 {
        self.cancelled.load(Relaxed)
    }

    fn take_turn(&self, answering: u32) {
        self.answering.store(answering, Relaxed);
        self.turn.store(self.turn().wrapping_add(1), Relaxed);
    }

    /// Gives an order.
    pub(super) fn order(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
    }

    /// Whether this is the order, and it is the first time that it is heard.
    pub(super) fn obeys(&self, order: Order) -> bool {
        let is_it = self.order.load(Relaxed) == order as u8;
        if is_it {
            self.order(Order::GoOn);
        }
        is_it
    }

    /// Another protocol is spoken from now on.
    pub(super) fn switch(&self) {
        self.is_switched.store(true, Relaxed);
    }

    /// Whether another protocol is spoken than HTTP/1.
    pub(super) fn is_switched(&self) -> bool {
        self.is_switched.load(Relaxed)
    }
}

/// Held while a request is being answered, to the end of the answer's body.
#[derive(Debug)]
pub(super) struct Answering(Arc<Pace>);

impl Answering {
    /// The answer begins.
    pub(super) fn begin(pace: &Arc<Pace>) -> Self {
        pace.take_turn(pace.answering() + 1);
        Self(Arc::clone(pace))
    }

    /// Where its connection, or its stream, stands.
    pub(super) fn pace(&self) -> &Pace {
        &self.0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.take_turn(self.0.answering().saturating_sub(1));
    }
}
