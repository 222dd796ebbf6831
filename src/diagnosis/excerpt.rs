//! What is shown of a line: some text around the message, and nothing that looks like a secret.

use crate::capture::redaction::{LEFT_OUT, SECRET_WORDS, without_userinfo};
use crate::render::printable;

/// How many characters of a line are shown.
const SHOWN: usize = 160;
/// How many of them at least stand before the message, where there are as many.
const BEFORE: usize = 40;
/// What a colon sets apart from a secret; more words would hide what messages say of tokens and keys.
const NAMES: [&str; 8] =
    ["token", "password", "passwd", "passphrase", "secret", "authorization", "api-key", "credentials"];

/// The part of a line around the message that begins at byte `start`, in at most [`SHOWN`] characters, without
/// secrets and control characters.
pub(super) fn excerpt(line: &[u8], start: usize) -> String {
    let before = without_secrets(&printable(&String::from_utf8_lossy(&line[..start])));
    let whole: Vec<char> =
        without_secrets(&printable(&String::from_utf8_lossy(line))).trim_end().chars().collect();
    if whole.len() <= SHOWN {
        return whole.into_iter().collect::<String>().trim_start().to_owned();
    }
    let message = before.chars().count().min(whole.len());
    // Whole words, unless one is as long as what is shown.
    let mut from = message.saturating_sub(BEFORE);
    if from > 0 {
        from = (from..message).find(|&at| whole[at - 1] == ' ').unwrap_or(message);
    }
    let to = whole.len().min(from + SHOWN);
    let text: String = whole[from..to].iter().collect();
    let mark = |cut: bool| if cut { "..." } else { "" };
    format!("{}{}{}", mark(from > 0), text.trim(), mark(to < whole.len()))
}

/// A line without the values of what is named like a secret, without tokens that are known by their look, and
/// without the users and passwords of URLs.
pub(super) fn without_secrets(line: &str) -> String {
    let line = without_userinfo(line);
    let mut out = String::with_capacity(line.len());
    let mut secret = Secret::None;
    for chunk in line.split_inclusive(|c: char| c.is_whitespace() || ",;&{}()[]<>".contains(c)) {
        let word = chunk.trim_end_matches(|c: char| c.is_whitespace() || ",;&{}()[]<>".contains(c));
        let after = &chunk[word.len()..];
        out.push_str(&secret.clean(word));
        out.push_str(after);
    }
    out
}

/// What is known of the next word.
enum Secret {
    None,
    /// It is one if it is after `=`.
    Named,
    /// It is one.
    Next,
    /// It is one, as are all up to this quote.
    Until(char),
}

impl Secret {
    fn clean(&mut self, word: &str) -> String {
        let bare = word.trim_matches(['"', '\'', '`']);
        match self {
            Secret::Until(quote) => {
                if word.ends_with(*quote) {
                    *self = Secret::None;
                }
                return String::new();
            }
            // What follows a scheme of HTTP is the secret.
            Secret::Next
                if bare.is_empty()
                    || ["basic", "bearer", "="].contains(&bare.to_ascii_lowercase().as_str()) =>
            {
                return word.to_owned();
            }
            Secret::Next => {
                *self = Secret::None;
                return self.value(word);
            }
            Secret::Named if word == "=" => {
                *self = Secret::Next;
                return word.to_owned();
            }
            Secret::None | Secret::Named => *self = Secret::None,
        }
        if looks_secret(bare) {
            return LEFT_OUT.to_owned();
        }
        let separator = word.find(['=', ':']);
        let (name, value) = match separator {
            Some(at) => (&word[..at], &word[at + 1..]),
            None if bare.eq_ignore_ascii_case("bearer") => {
                *self = Secret::Next;
                return word.to_owned();
            }
            None if word.starts_with("--") && is_secret(word, '=') => {
                *self = Secret::Next;
                return word.to_owned();
            }
            None => {
                if is_secret(word, '=') {
                    *self = Secret::Named;
                }
                return word.to_owned();
            }
        };
        let by = if word[name.len()..].starts_with('=') { '=' } else { ':' };
        if !is_secret(name, by) {
            // A word can hold a quoted text that begins with a name: err="token=abc.
            return match value.find(['=', ':']) {
                Some(_) => format!("{name}{by}{}", self.clean(value)),
                None if looks_secret(value.trim_matches(['"', '\''])) => format!("{name}{by}{LEFT_OUT}"),
                None => word.to_owned(),
            };
        }
        if value.trim_matches(['"', '\'']).is_empty() {
            *self = Secret::Next;
            return word.to_owned();
        }
        format!("{name}{by}{}", self.value(value))
    }

    /// A secret, which goes on where a quote is open.
    fn value(&mut self, word: &str) -> String {
        if let Some(quote) = word.chars().next().filter(|c| matches!(c, '"' | '\''))
            && (word.len() == 1 || !word.ends_with(quote))
        {
            *self = Secret::Until(quote);
        }
        LEFT_OUT.to_owned()
    }
}

fn is_secret(name: &str, by: char) -> bool {
    let name = name.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase().replace('_', "-");
    match by {
        '=' => SECRET_WORDS.iter().any(|word| name.contains(word)),
        _ => NAMES.iter().any(|word| name == *word || name.ends_with(&format!("-{word}"))),
    }
}

/// Tokens of K3s (`K10...::server:...`) and of kubeadm, JSON Web Tokens, tokens of GitHub.
fn looks_secret(word: &str) -> bool {
    let kubeadm = |(id, rest): (&str, &str)| {
        let letters = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        id.len() == 6 && rest.len() == 16 && letters(id) && letters(rest)
    };
    (word.starts_with("K10") && word.contains("::"))
        || (word.starts_with("eyJ") && word.contains('.'))
        || word.starts_with("ghp_")
        || word.split_once('.').is_some_and(kubeadm)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_left_out() {
        for line in [
            "K3S_TOKEN=hunter2 failed",
            "k3s server --token hunter2 --rootless",
            "k3s server --token=hunter2",
            "token: hunter2",
            "\"token\": \"hunter2\", \"a\": 1",
            "{\"password\":\"hunter2\"}",
            "password=\"a hunter2 b\" c",
            "Authorization: Bearer hunter2",
            "\"Authorization\": [\"Basic hunter2\"]",
            "header Bearer hunter2 refused",
            "pull https://me:hunter2@registry/x",
            "GET /v1?access_token=hunter2&x=1",
            "err=\"token=hunter2 is wrong\"",
            "K10abc::server:hunter2",
            "node-token K10hunter2::node:x",
            "jwt eyJhunter2.eyJ.x",
            "env DB_PASS = hunter2",
            "ds=nocloud;api_key=hunter2",
        ] {
            let text = without_secrets(line);
            assert!(!text.contains("hunter2"), "{line}: {text}");
        }
        for line in ["kubeadm join --token abcdef.0123456789abcdef", "token abcdef.0123456789abcdef"] {
            assert!(!without_secrets(line).contains("0123456789abcdef"), "{line}");
        }
    }

    #[test]
    fn messages_stay_as_they_are() {
        for line in [
            "time=\"2026-01-01T10:00:00Z\" level=fatal msg=\"failed to find cpuset cgroup (v2)\"",
            "unable to join session keyring: unable to create session key: disk quota exceeded",
            "sd-bus call: Interactive authentication required.: Permission denied",
            "unauthorized: authentication required",
            "x509: certificate has expired or is not yet valid: current time 1970-01-01T00:00:13Z",
            "E0101 10:00:00.000000 1 kubelet.go:1] \"Failed\" err=\"open /dev/kmsg: operation not permitted\"",
        ] {
            assert_eq!(without_secrets(line), line);
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_message() {
        let line = format!("{} the message {}", "before ".repeat(100), "after ".repeat(100));
        let text = excerpt(line.as_bytes(), line.find("the message").unwrap());
        assert!(text.starts_with("...before ") && text.contains("the message after"), "{text}");
        assert!(text.ends_with("...") && text.chars().count() <= SHOWN + 6, "{text}");
        assert_eq!(excerpt(b"  a short\x07 line ", 4), "a short\u{fffd} line");
        let word = format!("{}message", "x".repeat(500));
        assert!(excerpt(word.as_bytes(), 500).starts_with("...message"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stop(line in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..400) {
            let text = excerpt(&line, at.min(line.len()));
            prop_assert!(text.chars().count() <= SHOWN + 6);
            prop_assert!(!text.chars().any(char::is_control));
        }

        #[test]
        fn nor_do_words(line in "(token|=|:|\"|'| |--|Bearer|pass|,|x|é){0,40}") {
            let _ = without_secrets(&line);
        }
    }
}
