//! `containers-policy.json(5)`: which images may be used. Without this file Podman takes none.

use super::containers_conf::user_containers_path;
use super::users::User;
use super::{Evidence, Facts, Source, Sourced};
use crate::host::{Fact, OrAbsent, Unread};

/// The system's file.
pub const SYSTEM_PATH: &str = "/etc/containers/policy.json";
/// Where distributions that build Podman to look there have it, and Podman 6 looks last.
const VENDOR_PATH: &str = "/usr/share/containers/policy.json";

/// What Podman finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImagePolicy {
    /// A policy: what is said of images that nothing more special is said of.
    Found(Sourced<String>),
    /// A file that Podman refuses, and why.
    Refused(Sourced<String>),
    /// No file.
    Absent,
}

/// Judges the text of a file (containers/image, `signature/policy_config.go`): an object with a list
/// `default` that is not empty. What else Podman refuses, keys that it does not know say, is not looked
/// for.
fn policy(source: &Source) -> ImagePolicy {
    let refused = |line: usize, why: &str| {
        let number = u32::try_from(line).unwrap_or(u32::MAX).max(1);
        ImagePolicy::Refused(source.at(number, why.to_owned()))
    };
    let json: serde_json::Value = match serde_json::from_str(source.text()) {
        Ok(json) => json,
        Err(error) => return refused(error.line(), "no JSON"),
    };
    let Some(default) = json.get("default").and_then(|default| default.as_array()) else {
        return refused(1, "no list \"default\"");
    };
    let kind = default.first().and_then(|first| first.get("type")).and_then(|kind| kind.as_str());
    match (default.is_empty(), kind) {
        (true, _) => refused(1, "an empty list \"default\""),
        (false, None) => refused(1, "a requirement without \"type\""),
        (false, Some(kind)) => {
            let line = source.lines().find(|(_, line)| line.contains("\"default\""));
            ImagePolicy::Found(match line {
                Some((number, text)) => source.on(number, text, kind.to_owned()),
                None => source.whole(kind.to_owned()),
            })
        }
    }
}

impl Facts {
    /// The policy for the images of a user: the user's own file where there is one, else the system's.
    ///
    /// # Errors
    /// Why a file that exists could not be read, by us or by that user; and where there is one that only
    /// some builds of Podman look at.
    pub fn image_policy(&self, user: &User) -> Fact<ImagePolicy> {
        let own = user_containers_path(user, "policy.json");
        for path in [own.as_str(), SYSTEM_PATH] {
            if let Some(source) = self.user_source(path, user.uid, &user.groups).or_absent()? {
                return Ok(policy(&source));
            }
        }
        match self.stat(VENDOR_PATH).or_absent()? {
            None => Ok(ImagePolicy::Absent),
            // container-libs, `image/signature/policy_config.go`, `DefaultPolicy`.
            Some(_) if self.podman_is_at_least(user, 6) == Some(true) => {
                Ok(policy(&*self.user_source(VENDOR_PATH, user.uid, &user.groups)?))
            }
            Some(_) => Err(Unread::Malformed {
                path: VENDOR_PATH.to_owned(),
                line: None,
                expected: format!("there is no {SYSTEM_PATH}, and not every Podman looks here"),
            }),
        }
    }
}

/// Where a policy is looked for last.
pub fn absent() -> Evidence {
    Evidence::path(SYSTEM_PATH, "does not exist")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::{TestHost, empty_host, podman};

    /// As golang-github-containers-common 0.62 of Debian 13 has it.
    const DEBIAN: &str = "{\n    \"default\": [\n        {\n            \"type\": \"insecureAcceptAnything\"\n        }\n    ]\n}\n";
    const OWN: &str = "/home/edge/.config/containers/policy.json";

    fn read(host: TestHost) -> Fact<ImagePolicy> {
        host.facts().image_policy(&User::example("edge", 1000))
    }

    fn shown(host: TestHost) -> (String, String) {
        match read(host).unwrap() {
            ImagePolicy::Found(found) | ImagePolicy::Refused(found) => (found.value, found.at.to_string()),
            ImagePolicy::Absent => ("absent".to_owned(), String::new()),
        }
    }

    #[test]
    fn the_users_file_comes_before_the_systems() {
        let host = empty_host().file(SYSTEM_PATH, DEBIAN).mode(SYSTEM_PATH, "0644");
        let found = |kind: &str, at: String| (kind.to_owned(), at);
        assert_eq!(shown(host.clone()), found("insecureAcceptAnything", format!("{SYSTEM_PATH}:2")));
        let own =
            host.clone().file(OWN, DEBIAN.replace("insecureAcceptAnything", "reject")).mode(OWN, "0644");
        assert_eq!(shown(own), found("reject", format!("{OWN}:2")));
        assert_eq!(read(empty_host()), Ok(ImagePolicy::Absent));
        let vendor = empty_host().file(VENDOR_PATH, DEBIAN);
        assert!(read(vendor.clone()).is_err());
        assert!(read(podman(vendor.clone(), "5.8.2-1")).is_err());
        assert_eq!(
            shown(podman(vendor, "6.0.0-1")),
            found("insecureAcceptAnything", format!("{VENDOR_PATH}:2"))
        );
        assert!(matches!(read(host.mode(SYSTEM_PATH, "0600")), Err(Unread::Denied { .. })));
    }

    #[test]
    fn what_podman_refuses() {
        for (text, why, line) in [
            ("{\n\"default\": [}\n", "no JSON", 2),
            ("{}", "no list \"default\"", 1),
            ("{\"default\": []}", "an empty list \"default\"", 1),
            ("{\"default\": [{}]}", "a requirement without \"type\"", 1),
            ("", "no JSON", 1),
        ] {
            let host = empty_host().file(SYSTEM_PATH, text).mode(SYSTEM_PATH, "0644");
            assert_eq!(shown(host), (why.to_owned(), format!("{SYSTEM_PATH}:{line}")), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)(.{0,12}|\"default\"|\"type\"|:|\\[|\\]|\\{|\\}|\n){0,12}") {
            let _ = policy(&Source::new(SYSTEM_PATH, text));
        }
    }
}
