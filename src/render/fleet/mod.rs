//! Many reports as one picture.

mod data;
pub mod html;
pub mod human;
mod picture;
