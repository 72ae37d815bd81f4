//! Where to look in an ascending list of (ordinal, position), and a bounded piece of one.

pub(super) use crate::format::table::leaf::{Item, LEAF_ITEMS_MAX};

/// Which items of a list are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Positions from this one on, the lowest first.
    From(u64),
    /// Positions before this one, the highest first.
    Before(u64),
    /// Ordinals from this one on, the lowest first.
    OrdinalFrom(u64),
    /// Ordinals up to this one, it included, the highest first.
    OrdinalTo(u64),
}

impl Bound {
    /// Whether items are wanted from the lowest on.
    pub(super) fn is_forwards(self) -> bool {
        matches!(self, Self::From(_) | Self::OrdinalFrom(_))
    }

    /// Whether an item lies in front of the place where the wanted ones begin or end.
    pub(super) fn is_behind(self, (ordinal, position): Item) -> bool {
        match self {
            Self::From(from) => position < from,
            Self::Before(before) => position < before,
            Self::OrdinalFrom(from) => ordinal < from,
            Self::OrdinalTo(to) => ordinal <= to,
        }
    }

    /// The same for a list whose ordinals are lower by `base`; none if no item can be wanted.
    pub(super) fn relative_to(self, base: u64) -> Option<Self> {
        match self {
            Self::OrdinalFrom(from) => Some(Self::OrdinalFrom(from.saturating_sub(base))),
            Self::OrdinalTo(to) => to.checked_sub(base).map(Self::OrdinalTo),
            Self::From(_) | Self::Before(_) => Some(self),
        }
    }

    /// The wanted ones of ascending items, ascending.
    pub(super) fn trim(self, items: &mut Vec<Item>) {
        let cut = items.partition_point(|item| self.is_behind(*item));
        if self.is_forwards() {
            items.drain(..cut);
        } else {
            items.truncate(cut);
        }
    }
}
