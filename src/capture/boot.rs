//! Secrets in what boot loaders read: passwords of GRUB's menu, and words for the kernel whose names say so.

use super::redaction::{LEFT_OUT, is_secret, without_userinfo};

/// What the paths begin with of files in which words for the kernel are written.
const PLACES: [&str; 12] = [
    "/boot/",
    "/efi/",
    "/etc/cmdline.d/",
    "/etc/default/extlinux",
    "/etc/default/grub",
    "/etc/default/raspi",
    "/etc/default/u-boot",
    "/etc/grub.d/",
    "/etc/kernel/",
    "/ostree/",
    "/usr/lib/bootc/",
    "/usr/lib/kernel/",
];
/// Commands of GRUB that a password follows (GRUB manual, "password", "password_pbkdf2").
const PASSWORDS: [&str; 2] = ["password", "password_pbkdf2"];

/// Whether a boot loader, or what writes its files, reads this one.
pub(super) fn is_read(path: &str) -> bool {
    PLACES.iter().any(|place| path.starts_with(place))
}

/// A line without secrets. What stands between quotes is looked at word by word, as the kernel will.
pub(super) fn line(line: &str) -> String {
    let first = line.split_whitespace().next().unwrap_or_default();
    if PASSWORDS.contains(&first) {
        let indent = &line[..line.len() - line.trim_start().len()];
        return format!("{indent}{first} {LEFT_OUT}");
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    line.split_inclusive(is_end).map(|word| self::word(word, is_end)).collect()
}

fn word(word: &str, is_end: fn(char) -> bool) -> String {
    let bare = word.trim_end_matches(is_end);
    match bare.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => {
            format!("{name}={LEFT_OUT}{}", &word[bare.len()..])
        }
        _ => without_userinfo(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_secret_words_are_left_out() {
        for (text, clean) in [
            ("linux /vmlinuz quiet k3s.token=hunter2 ro", "linux /vmlinuz quiet k3s.token=LEFT-OUT ro"),
            (
                "GRUB_CMDLINE_LINUX=\"quiet x.pass=hunter2\" # y",
                "GRUB_CMDLINE_LINUX=\"quiet x.pass=LEFT-OUT\" # y",
            ),
            ("  password_pbkdf2 root grub.pbkdf2.hunter2", "  password_pbkdf2 LEFT-OUT"),
            ("password root hunter2", "password LEFT-OUT"),
            ("extraargs=ds=nocloud;s=http://a:hunter2@h/ b", "extraargs=ds=nocloud;s=http://LEFT-OUT@h/ b"),
            ("options root=UUID=1 rw", "options root=UUID=1 rw"),
            ("\tset superusers=\"root\"", "\tset superusers=\"root\""),
            ("", ""),
        ] {
            assert_eq!(line(text), clean);
        }
        assert!(is_read("/boot/firmware/cmdline.txt") && is_read("/etc/default/grub"));
        assert!(!is_read("/etc/default/k3s") && !is_read("/bootx/y"));
    }
}
