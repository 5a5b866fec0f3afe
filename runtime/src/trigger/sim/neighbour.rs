//! Other triggers of a node. They share its budget, take memory as long as they may, and give nothing back
//! before they go. So no others come while they are there: those would find what is theirs taken.

use super::time::ms;
use super::world::{Event, World};
use crate::trigger::budget::Share;

/// How much a neighbour takes at once, and how often.
const BITE_BYTES: u64 = 16 << 10;
const BITES: std::time::Duration = ms(20);

/// Another trigger.
pub struct Neighbour {
    share: Share,
    /// The fault that it is part of.
    pub added_by: usize,
    pub holds: u64,
}

impl Neighbour {
    pub fn new(share: Share, added_by: usize) -> Self {
        Self { share, added_by, holds: 0 }
    }
}

impl World {
    /// The neighbours on a node take what they may. They look before each bite, as triggers do.
    pub fn neighbours_grow(&mut self, node: usize) {
        let neighbours = &mut self.nodes[node].neighbours;
        for neighbour in neighbours.iter_mut() {
            neighbour.share.hold(neighbour.holds);
            if neighbour.share.has_room_for(0) {
                neighbour.holds += BITE_BYTES;
            }
        }
        if !neighbours.is_empty() {
            self.after(BITES, Event::Grow { node });
        }
    }
}
