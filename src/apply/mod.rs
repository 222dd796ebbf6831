//! Carries a plan out: the only part of edgeprep that changes a host, an image or a home directory.
//!
//! Every path is written by [`target::Target`], either here or, below a home directory, in a child that
//! has the user's credentials and no others ([`as_user`]). What runs is told over D-Bus ([`bus`]). The
//! [`journal`] is durable before anything is touched, and [`transaction`] holds it all together.

pub mod activation;
pub mod as_user;
mod attributes;
pub mod bus;
mod error;
pub mod journal;
pub mod live;
mod place;
pub mod podman_pause;
pub mod shadow_lock;
mod system_program;
pub mod target;
pub mod transaction;
pub mod user_call;
pub mod writers;

pub use error::WriteError;
