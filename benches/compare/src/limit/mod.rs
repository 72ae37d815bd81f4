//! What the machine allows: syncs, a server that does nothing but commit together, the loopback, a
//! copy in memory. They stand beside the stores as rows of their own.

pub mod bare;
pub mod bare_client;
pub mod loopback;
pub mod sync;
