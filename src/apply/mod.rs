//! Carries a plan out. The only part of edgeprep that changes a host, an image or a home directory.
//!
//! Every path is written by [`target::Target`], either here or, below a home directory, in a child that
//! has the user's credentials and no others ([`as_user`]).

pub mod as_user;
mod attributes;
mod error;
mod place;
pub mod shadow_lock;
pub mod target;
pub mod writers;

pub use error::WriteError;
