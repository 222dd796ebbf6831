//! The clock, which is no file: that of the machine edgeprep runs on, or what a capture keeps of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Backend, Fact, Host, HostToml, Unread};

impl Host {
    /// What the clock says, in seconds since 1970 (`CLOCK_REALTIME`).
    ///
    /// # Errors
    /// [`Unread::NotCaptured`] in a capture without it.
    pub fn now_secs(&self) -> Fact<i64> {
        let got = match &self.backend {
            Backend::Tree(_) => Ok(live_secs()),
            Backend::Captured(captured) => captured_secs(captured.toml()),
        };
        self.note(|recording| recording.now_secs(&got));
        got
    }
}

/// One before 1970 counts backwards.
fn live_secs() -> i64 {
    let secs = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => secs(since),
        Err(before) => -secs(before.duration()),
    }
}

fn captured_secs(toml: &HostToml) -> Fact<i64> {
    toml.now_secs.ok_or_else(|| Unread::NotCaptured { path: "CLOCK_REALTIME".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_keeps_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::image(dir.path()).unwrap().recorded();
        let now = host.now_secs().unwrap();
        assert!(now > 1_700_000_000, "{now}");
        let recording = host.into_recording().unwrap();
        let text = toml::to_string(&recording.toml).unwrap();
        let toml: HostToml = toml::from_str(&text).unwrap();
        assert_eq!(captured_secs(&toml), Ok(now));
        let none = Host::image(dir.path()).unwrap().recorded().into_recording().unwrap();
        let text = toml::to_string(&none.toml).unwrap();
        assert!(!text.contains("now_secs"), "{text}");
        assert!(captured_secs(&none.toml).is_err());
    }
}
