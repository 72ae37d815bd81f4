//! What is shown: tables for people, JSON for programs, plots.

pub mod facts;
pub mod goals;
pub mod markdown;
pub mod plots;
pub mod rows;
pub mod summary;
pub mod table;
