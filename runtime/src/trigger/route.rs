//! Which of a trigger's revisions a record goes to. Ready records are kept by route, so that few ones for
//! a revision that is tried are found among many others.

/// Which lane the records of a key go to. Today there is one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route(u8);

impl Route {
    pub const COUNT: usize = 2;
    /// To the revision that serves.
    pub const STABLE: Self = Self(0);
    /// To a revision that is tried on some of the keys.
    #[cfg(test)]
    pub const CANARY: Self = Self(1);

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
