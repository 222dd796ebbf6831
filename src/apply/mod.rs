//! Carries a plan out: what makes the running system take notice of files that were written.

pub mod activation;
pub mod bus;
pub mod live;
pub mod user_call;
