//! What the tests of the store share.

pub mod reference;
