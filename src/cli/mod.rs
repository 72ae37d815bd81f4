//! The command line: the binary `annal`, one file a verb, and the text formats it reads and writes.

pub mod groups;
pub mod input;
pub mod ndjson;
