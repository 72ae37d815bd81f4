//! What the tests of the store share.

pub(crate) mod reference;
