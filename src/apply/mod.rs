//! Carries out a plan: the only writer, the only D-Bus user, and the journal.

pub mod activation;
pub mod as_user;
pub mod bus;
mod error;
pub mod journal;
pub mod live;
pub mod shadow_lock;
mod staging;
pub mod target;
pub mod transaction;
pub mod user_call;
pub mod writers;
