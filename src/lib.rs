//! edgeprep tells whether a Linux host, an image root or a captured host can run containers and
//! Kubernetes without root, and if not, exactly why.
//!
//! Data flows one way: [`host`] reads, [`facts`] parse, [`checks`] judge facts against
//! [`requirements`], [`report`] collects, [`render`] prints. Each step is a plain value.

pub mod checks;
pub mod facts;
pub mod host;
pub mod report;
pub mod requirements;
