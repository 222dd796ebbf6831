//! Many reports as one picture.

pub mod html;
pub mod human;
mod picture;
