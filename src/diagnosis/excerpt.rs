//! What is shown of a line: some text around the message, and nothing that looks like a secret.

use crate::capture::redaction::{LEFT_OUT, SECRET_WORDS, without_userinfo};
use crate::render::printable;

/// How many characters of a line are shown.
const SHOWN: usize = 160;
/// How many of them at least stand before the message, where there are as many.
const BEFORE: usize = 40;
/// How many bytes of a line are looked at before the beginning of the message, and how many after it: a
/// character has four at most.
const LOOKED_AT: usize = 4 * SHOWN;
/// What a colon sets apart from a secret; more words would hide what messages say of tokens and keys.
const NAMES: [&str; 20] = [
    "token",
    "identitytoken",
    "registrytoken",
    "accesstoken",
    "refreshtoken",
    "secretkey",
    "secret-key",
    "accesskey",
    "access-key",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "authorization",
    "auth",
    "apikey",
    "api-key",
    "client-key-data",
    "credentials",
    "cookie",
];
/// With a dash or an underscore before them, what a colon sets apart, too: `DB_PASS: x`, not `PASS: TestX`.
const ENDS: [&str; 2] = ["-pass", "-pwd"];
/// Options of programs that are followed by `USER:PASSWORD`, and of `podman run` by `UID:GID`.
const PAIRS: [&str; 3] = ["-u", "--user", "--proxy-user"];
/// What a blank alone sets apart from a secret, besides variables: `K3S_TOKEN x`.
const PASSWORDS: [&str; 3] = ["password", "passwd", "passphrase"];
/// What messages say of one, so that it is none.
const OF_PASSWORDS: [&str; 52] = [
    "and",
    "are",
    "as",
    "authentication",
    "before",
    "but",
    "by",
    "can",
    "cannot",
    "change",
    "could",
    "differs",
    "does",
    "empty",
    "entry",
    "env",
    "environment",
    "expired",
    "file",
    "for",
    "found",
    "from",
    "given",
    "has",
    "if",
    "in",
    "instead",
    "invalid",
    "is",
    "may",
    "missing",
    "must",
    "not",
    "of",
    "on",
    "or",
    "prompt",
    "provided",
    "required",
    "set",
    "should",
    "that",
    "to",
    "value",
    "values",
    "variable",
    "via",
    "was",
    "when",
    "which",
    "will",
    "with",
];
/// How tokens begin: GitHub, "About authentication to GitHub", "GitHub's token formats"; GitLab, "Token
/// overview", "Token prefixes"; Docker Hub's personal access tokens.
const PREFIXES: [&str; 8] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "dckr_pat_"];
/// AWS, "IAM identifiers", "Understanding unique ID prefixes": of keys that last, and that do not.
const AWS_PREFIXES: [&str; 2] = ["AKIA", "ASIA"];
const AWS_LENGTH: usize = 20;
/// What sets a name apart from its value, in small letters: also as in URLs, and as encoders of JSON write it.
const SEPARATORS: [(&str, char); 6] =
    [("=", '='), (":", ':'), ("%3d", '='), ("%3a", ':'), ("\\u003d", '='), ("\\u003a", ':')];

/// The part of a line around the message that begins at byte `start`, in at most [`SHOWN`] characters, without
/// secrets and control characters.
pub(super) fn excerpt(line: &[u8], start: usize) -> String {
    // A word that is cut may be a secret without its name.
    let begin = start.saturating_sub(LOOKED_AT);
    let blank = || line[begin..start].iter().position(u8::is_ascii_whitespace);
    let begin = if begin == 0 { 0 } else { blank().map_or(start, |at| begin + at) };
    let end = line.len().min(start + LOOKED_AT);
    let clean = |text| without_secrets(&printable(&String::from_utf8_lossy(text)));
    let before = clean(&line[begin..start]);
    let whole: Vec<char> = clean(&line[begin..end]).trim_end().chars().collect();
    let message = before.chars().count().min(whole.len());
    // Whole words, unless one is as long as what is shown.
    let mut from = if whole.len() > SHOWN { message.saturating_sub(BEFORE) } else { 0 };
    if from > 0 {
        from = (from..message).find(|&at| whole[at - 1] == ' ').unwrap_or(message);
    }
    let to = whole.len().min(from + SHOWN);
    let text: String = whole[from..to].iter().collect();
    let mark = |cut: bool| if cut { "..." } else { "" };
    format!("{}{}{}", mark(begin + from > 0), text.trim(), mark(to < whole.len() || end < line.len()))
}

/// A line without the values of what is named like a secret, without tokens that are known by their look, and
/// without the users and passwords of URLs.
pub(super) fn without_secrets(line: &str) -> String {
    let line = without_userinfo(line);
    let mut out = String::with_capacity(line.len());
    let mut secret = Secret::None;
    let mut login = false;
    for chunk in line.split_inclusive(|c: char| c.is_whitespace() || ",;&{}()[]<>".contains(c)) {
        let word = chunk.trim_end_matches(|c: char| c.is_whitespace() || ",;&{}()[]<>".contains(c));
        let after = &chunk[word.len()..];
        if !word.is_empty() {
            secret.clean(word, login, &mut out);
            login |= bare(word) == "login";
        }
        if matches!(secret, Secret::Named { .. }) && !after.trim().is_empty() {
            secret = Secret::None;
        }
        out.push_str(after);
    }
    out
}

/// What is known of the next word.
enum Secret {
    None,
    /// It is one if it is after `=`, with `colon` also after a colon, with `blank` in any case.
    Named {
        colon: bool,
        blank: bool,
    },
    /// It is one.
    Next,
    /// Its part after a colon is one, unless both are numbers.
    Pair,
    /// It is one, unless it is a port that is published.
    Password,
    /// It is one, and so is the next as long as they are `name=value`.
    Cookies,
    /// It is one, as are all up to this quote.
    Until(char),
}

impl Secret {
    /// Appends a word, or what stands for it; `login` where somebody logs in on this line.
    fn clean(&mut self, word: &str, login: bool, out: &mut String) {
        match std::mem::replace(self, Secret::None) {
            Secret::Until(quote) => {
                if !word.ends_with(quote) {
                    *self = Secret::Until(quote);
                }
                return;
            }
            // What follows a scheme of HTTP is the secret.
            Secret::Next
                if ["", "basic", "bearer", "="].contains(&bare(word).to_ascii_lowercase().as_str()) =>
            {
                *self = Secret::Next;
                return out.push_str(word);
            }
            Secret::Next => return self.value(word, out),
            Secret::Pair if self.pair(word, out) => return,
            Secret::Password if !is_published(bare(word)) => return self.value(word, out),
            Secret::Pair | Secret::Password => {}
            Secret::Cookies => {
                self.value(word, out);
                if word.contains('=') && !matches!(self, Secret::Until(_)) {
                    *self = Secret::Cookies;
                }
                return;
            }
            Secret::Named { colon, blank } => match separator(word) {
                Some((0, length, by)) if by == '=' || colon => {
                    out.push_str(&word[..length]);
                    return self.named("", &word[length..], out);
                }
                _ if blank && !OF_PASSWORDS.contains(&bare(word).to_ascii_lowercase().as_str()) => {
                    return self.value(word, out);
                }
                _ => {}
            },
            Secret::None => {}
        }
        // A word can hold a quoted text that begins with a name: err="token=abc.
        let mut rest = word;
        while !looks_secret(bare(rest)) {
            let Some((at, length, by)) = separator(rest) else {
                if let Some(start) = rest.find("-p").filter(|at| login && is_attached(rest, *at)) {
                    out.push_str(&rest[..start + 2]);
                    return self.value(&rest[start + 2..], out);
                }
                out.push_str(rest);
                return self.follow(rest, login);
            };
            let (name, value) = (&rest[..at], &rest[at + length..]);
            out.push_str(&rest[..at + length]);
            if PAIRS.contains(&bare(name)) && self.pair(value, out) {
                return;
            }
            if is_secret(name, by) {
                return self.named(name, value, out);
            }
            rest = value;
        }
        out.push_str(LEFT_OUT);
    }

    /// Appends a user, and what stands for the password after it; whether there is one.
    fn pair(&mut self, word: &str, out: &mut String) -> bool {
        let Some((user, password)) = word.split_once(':') else { return false };
        let is_number = |text: &str| bare(text).bytes().all(|byte| byte.is_ascii_digit());
        if is_number(password) && is_number(user) || bare(password).is_empty() {
            return false;
        }
        out.push_str(user);
        out.push(':');
        if let Some(quote) = user.chars().next().filter(|c| matches!(c, '"' | '\''))
            && !password.ends_with(quote)
        {
            *self = Secret::Until(quote);
        }
        out.push_str(LEFT_OUT);
        true
    }

    /// What a name without a separator says of the next word.
    fn follow(&mut self, name: &str, login: bool) {
        if PAIRS.contains(&bare(name)) {
            *self = Secret::Pair;
        } else if login && bare(name) == "-p" {
            *self = Secret::Password;
        } else if bare(name).eq_ignore_ascii_case("bearer") || name.starts_with("--") && is_secret(name, '=')
        {
            *self = Secret::Next;
        } else if is_secret(name, '=') {
            let blank =
                is_variable(bare(name)) || PASSWORDS.iter().any(|word| bare(name).eq_ignore_ascii_case(word));
            *self = Secret::Named { colon: is_secret(name, ':'), blank };
        }
    }

    /// Appends what stands for the value of a name; without one it is the next word.
    fn named(&mut self, name: &str, value: &str, out: &mut String) {
        if bare(value).is_empty() {
            out.push_str(value);
            *self = Secret::Next;
        } else {
            self.value(value, out);
        }
        if !matches!(self, Secret::Until(_)) && name.to_ascii_lowercase().contains("cookie") {
            *self = Secret::Cookies;
        }
    }

    /// Appends what stands for a secret, which goes on where a quote is open.
    fn value(&mut self, word: &str, out: &mut String) {
        if let Some(quote) = word.chars().next().filter(|c| matches!(c, '"' | '\''))
            && (word.len() == 1 || !word.ends_with(quote))
        {
            *self = Secret::Until(quote);
        }
        out.push_str(LEFT_OUT);
    }
}

/// Whether it is written like a variable of the environment.
fn is_variable(name: &str) -> bool {
    name.contains('_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether it is a port for `podman run -p`, `8080:80`.
fn is_published(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|byte| byte.is_ascii_digit() || b":.-[]".contains(&byte))
}

/// Whether `-p` at this place is an option with something right after it.
fn is_attached(word: &str, at: usize) -> bool {
    bare(&word[..at]).is_empty() && !bare(&word[at + 2..]).is_empty()
}

fn bare(word: &str) -> &str {
    word.trim_matches(['"', '\'', '`'])
}

/// The first separator of a word: where it is, its length in bytes, and what it stands for.
fn separator(word: &str) -> Option<(usize, usize, char)> {
    word.match_indices(['=', ':', '%', '\\']).find_map(|(at, _)| {
        let is = |text: &str| {
            word.as_bytes()[at..].get(..text.len()).is_some_and(|it| it.eq_ignore_ascii_case(text.as_bytes()))
        };
        SEPARATORS.iter().find(|(text, _)| is(text)).map(|&(text, by)| (at, text.len(), by))
    })
}

fn is_secret(name: &str, by: char) -> bool {
    let name = name.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase().replace('_', "-");
    match by {
        '=' => {
            let is_place = ["pwd", "oldpwd"].contains(&name.as_str());
            SECRET_WORDS.iter().chain(&["pwd", "creds"]).any(|word| name.contains(word)) && !is_place
        }
        _ => {
            NAMES.iter().any(|word| name == *word || name.ends_with(&format!("-{word}")))
                || ENDS.iter().any(|end| name.ends_with(end))
        }
    }
}

/// Tokens of K3s (`K10...::server:...`) and of kubeadm, JSON Web Tokens, and what begins as tokens do.
fn looks_secret(word: &str) -> bool {
    let kubeadm = |(id, rest): (&str, &str)| {
        let letters = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        id.len() == 6 && rest.len() == 16 && letters(id) && letters(rest)
    };
    let aws = |part: &str| {
        AWS_PREFIXES.iter().any(|prefix| part.starts_with(prefix))
            && part.len() == AWS_LENGTH
            && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    (word.starts_with("K10") && word.contains("::"))
        || (word.starts_with("eyJ") && word.contains('.'))
        || word.split_once('.').is_some_and(kubeadm)
        || word
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .any(|part| aws(part) || PREFIXES.iter().any(|prefix| part.starts_with(prefix)))
}

#[cfg(test)]
#[path = "excerpt_tests.rs"]
mod tests;
