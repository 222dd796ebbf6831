//! edgeprep tells whether a Linux host, an image root or a captured host can run containers and
//! Kubernetes without root, if not, exactly why, and repairs it.
//!
//! Data flows one way: [`host`] reads, [`facts`] parse, [`checks`] judge facts against
//! [`requirements`], [`report`] collects, [`render`] prints. Of the [`settings`] that findings ask for,
//! [`fixes`] make files, a [`plan`] compares those with the host, and [`apply`] carries it out; then the same
//! checks run again. Where it is asked for, [`probes`] try as the user what the checks tell, and the report has
//! both. A [`diagnosis`] goes the other way: from the messages of a log, by the [`symptoms`] that are known, to
//! the checks. A [`fleet`] is made of many saved reports. Each step is a plain value.

pub mod apply;
pub mod capture;
pub mod checks;
pub mod cli;
pub mod commands;
pub mod diagnosis;
#[cfg(test)]
mod distribution_tests;
pub mod exit_code;
pub mod facts;
pub mod finding;
pub mod fixes;
pub mod fleet;
pub mod host;
pub mod host_summary;
pub mod inspection;
pub mod output;
pub mod overlay;
pub mod plan;
pub mod probes;
pub mod profile;
pub mod render;
pub mod report;
pub mod requirements;
pub mod settings;
pub mod symptoms;
pub mod workload;
