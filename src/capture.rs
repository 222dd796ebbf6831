//! Makes a capture of what was read: leaves secrets and, unless they are wanted, identities out, and
//! packs the rest.

use sha2::{Digest, Sha256};

use crate::host::Recording;

/// Files that hold the identity of a machine.
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
const HOST_NAME: [&str; 2] = ["/etc/hostname", "/proc/sys/kernel/hostname"];
/// A key whose name holds one of these has a value that is nobody's business.
const SECRET_WORDS: [&str; 6] = ["token", "password", "passwd", "passphrase", "secret", "apikey"];
/// What stands in the place of a secret.
const LEFT_OUT: &str = "LEFT-OUT";

/// The first 128 bits of the SHA-256 of an identity, in hexadecimal.
pub fn identity_hash(identity: &str) -> String {
    Sha256::digest(identity.trim().as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The recording as it may be given away: for `users`, without secrets, with identities hashed.
pub fn finish(mut recording: Recording, users: Vec<String>, hash_identity: bool) -> Recording {
    recording.toml.origin = format!("edgeprep {} capture", env!("CARGO_PKG_VERSION"));
    recording.toml.users = users;
    recording.toml.identity_hashed = hash_identity;
    for (path, bytes) in &mut recording.files {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        let known = !text.trim().is_empty() && text.trim() != "uninitialized";
        if hash_identity && known && MACHINE_ID.contains(&path.as_str()) {
            *bytes = format!("{}\n", identity_hash(text)).into_bytes();
        } else if hash_identity && known && HOST_NAME.contains(&path.as_str()) {
            *bytes = format!("host-{}\n", &identity_hash(text)[..8]).into_bytes();
        } else if let Some(clean) = without_secrets(text) {
            *bytes = clean.into_bytes();
        }
    }
    for value in recording.toml.caller.environment.values_mut() {
        if let Some(clean) = without_userinfo(value) {
            *value = clean;
        }
    }
    recording
}

/// The text with values of secret keys and passwords in URLs replaced, or `None` where there are none.
fn without_secrets(text: &str) -> Option<String> {
    let secret = |line: &str| {
        let lower = line.to_ascii_lowercase();
        lower.contains("://") || SECRET_WORDS.iter().any(|word| lower.contains(word))
    };
    if !text.lines().any(secret) {
        return None;
    }
    let lines: Vec<String> =
        text.split('\n').map(|line| if secret(line) { clean_line(line) } else { line.to_owned() }).collect();
    Some(lines.join("\n")).filter(|clean| clean != text)
}

fn clean_line(line: &str) -> String {
    // Words are kept apart by their spaces, so that a kernel command line keeps its shape.
    let words: Vec<String> = line
        .split(' ')
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !value.is_empty() && is_secret_key(key) => format!("{key}={LEFT_OUT}"),
            _ => without_userinfo(word).unwrap_or_else(|| word.to_owned()),
        })
        .collect();
    let line = words.join(" ");
    // "key = value" and "key: value", as configuration files write them.
    match line.split_once(['=', ':']) {
        Some((key, value))
            if !key.trim().contains(' ') && is_secret_key(key.trim()) && !value.trim().is_empty() =>
        {
            format!("{key}{}{LEFT_OUT}", &line[key.len()..=key.len()])
        }
        _ => line,
    }
}

/// Whether a key names a secret. `passwd:` of nsswitch.conf and `PASS_MAX_DAYS` do not.
fn is_secret_key(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    lower != "passwd" && SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// `scheme://LEFT-OUT@host` for a URL that holds a user or password, else `None`.
fn without_userinfo(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    Some(format!("{scheme}://{LEFT_OUT}{}", &rest[at..]))
}

/// A tar of the recording, the same bytes for the same recording.
///
/// # Errors
/// When a name does not fit a tar.
pub fn tar(recording: &Recording) -> anyhow::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let toml = toml::to_string(&recording.toml)?;
    append(&mut builder, "host.toml", toml.as_bytes())?;
    for (path, bytes) in &recording.files {
        append(&mut builder, path.trim_start_matches('/'), bytes)?;
    }
    Ok(builder.into_inner()?)
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out() {
        let cases = [
            ("K3S_TOKEN=abc\n", "K3S_TOKEN=LEFT-OUT\n"),
            ("  password: hunter2\n", "  password:LEFT-OUT\n"),
            ("quiet k3s.token=x root=/dev/vda\n", "quiet k3s.token=LEFT-OUT root=/dev/vda\n"),
            ("http_proxy=http://me:pw@proxy:3128/\n", "http_proxy=http://LEFT-OUT@proxy:3128/\n"),
        ];
        for (text, clean) in cases {
            assert_eq!(without_secrets(text).as_deref(), Some(clean), "{text}");
        }
        for text in
            ["passwd:         files systemd\n", "PASS_MAX_DAYS\t99999\n", "Documentation=https://x.y/@z\n"]
        {
            assert_eq!(without_secrets(text), None, "{text}");
        }
    }

    #[test]
    fn identities_are_hashed_alike_everywhere() {
        assert_eq!(identity_hash("abc\n"), identity_hash("abc"));
        assert_eq!(identity_hash("abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
