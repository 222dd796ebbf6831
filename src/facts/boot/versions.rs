//! The orders in which boot loaders put versions.

use std::cmp::Ordering;

/// The order of the UAPI Version Format Specification, which systemd-boot sorts by.
pub(super) fn uapi(one: &str, two: &str) -> Ordering {
    let (mut a, mut b) = (one.as_bytes(), two.as_bytes());
    loop {
        a = from(a, |c| c.is_ascii_alphanumeric() || b"~-^.".contains(&c));
        b = from(b, |c| c.is_ascii_alphanumeric() || b"~-^.".contains(&c));
        match separator(&mut a, &mut b, b'~') {
            Ordering::Equal => {}
            other => return other,
        }
        if a.is_empty() || b.is_empty() {
            return b.is_empty().cmp(&a.is_empty());
        }
        for mark in [b'-', b'^', b'.'] {
            match separator(&mut a, &mut b, mark) {
                Ordering::Equal => {}
                other => return other,
            }
        }
        let starts_number = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let numeric = starts_number(a) || starts_number(b);
        let (one, two) = if numeric {
            (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit))
        } else {
            (take(&mut a, u8::is_ascii_alphabetic), take(&mut b, u8::is_ascii_alphabetic))
        };
        let order = match (numeric, one.is_empty(), two.is_empty()) {
            (true, false, false) => numbers(one, two),
            (true, ..) => two.is_empty().cmp(&one.is_empty()),
            (false, ..) => one.cmp(two),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// One of the two that has the mark is lower; where both have it, it is taken.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Ordering {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (None, None) => Ordering::Equal,
        (Some(after_a), Some(after_b)) => {
            (*a, *b) = (after_a, after_b);
            Ordering::Equal
        }
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
    }
}

/// The order in which the `blscfg` of GRUB puts the names of entries: name, version and release,
/// each as rpm compares them (rhboot/grub2, `grub-core/commands/blscfg.c`, `split_cmp()` and
/// `vercmp()`).
pub(super) fn grub_entries(one: &str, two: &str) -> Ordering {
    let (one, two) = (name_version_release(one), name_version_release(two));
    one.iter()
        .zip(&two)
        .map(|(one, two)| rpm(one, two))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn name_version_release(id: &str) -> [&str; 3] {
    let Some((rest, release)) = id.rsplit_once('-') else { return [id, "", ""] };
    match rest.rsplit_once('-') {
        Some((name, version)) => [name, version, release],
        None => [rest, release, ""],
    }
}

fn rpm(one: &str, two: &str) -> Ordering {
    if one == two {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (one.as_bytes(), two.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        a = from(a, |c| c.is_ascii_alphanumeric() || c == b'~' || c == b'+');
        b = from(b, |c| c.is_ascii_alphanumeric() || c == b'~' || c == b'+');
        if a.first() == Some(&b'~') || b.first() == Some(&b'~') {
            match separator(&mut a, &mut b, b'~') {
                Ordering::Equal => continue,
                other => return other,
            }
        }
        if a.first() == Some(&b'+') || b.first() == Some(&b'+') {
            match (a.is_empty(), b.is_empty()) {
                (true, _) => return Ordering::Less,
                (_, true) => return Ordering::Greater,
                _ => {}
            }
            match separator(&mut a, &mut b, b'+') {
                Ordering::Equal => continue,
                other => return other,
            }
        }
        let Some(first) = a.first().filter(|_| !b.is_empty()) else { break };
        let order = if first.is_ascii_digit() {
            let (one, two) = (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
            if two.is_empty() { Ordering::Greater } else { numbers(one, two) }
        } else {
            let (one, two) = (take(&mut a, u8::is_ascii_alphabetic), take(&mut b, u8::is_ascii_alphabetic));
            if two.is_empty() { Ordering::Less } else { one.cmp(two) }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    b.is_empty().cmp(&a.is_empty())
}

fn from(text: &[u8], counts: impl Fn(u8) -> bool) -> &[u8] {
    let at = text.iter().position(|&c| counts(c)).unwrap_or(text.len());
    text.get(at..).unwrap_or_default()
}

fn take<'t>(text: &mut &'t [u8], is: impl Fn(&u8) -> bool) -> &'t [u8] {
    let end = text.iter().position(|c| !is(c)).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

/// Digits as numbers, however many there are.
fn numbers(one: &[u8], two: &[u8]) -> Ordering {
    let (one, two) = (from(one, |c| c != b'0'), from(two, |c| c != b'0'));
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of the specification, in its order.
    #[test]
    fn versions_are_in_the_order_of_the_specification() {
        let rising = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for pair in rising.windows(2) {
            assert_eq!(uapi(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(uapi(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for (one, two) in [("", ""), ("00123", "123"), ("1.0", "1.0")] {
            assert_eq!(uapi(one, two), Ordering::Equal, "{one} {two}");
        }
    }

    #[test]
    fn kernels_of_fedora_are_in_their_order() {
        let id = "4a3f0d1b2c9e4b7f8a6d5c4b3a291807";
        for (newer, older) in [
            ("6.14.11-300.fc42.x86_64", "6.14.9-300.fc42.x86_64"),
            ("6.14.0-63.fc42.x86_64", "0-rescue"),
            ("5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.el9.x86_64"),
            ("6.15.0-1.fc43.x86_64", "6.15.0~rc1-1.fc43.x86_64"),
        ] {
            let (newer, older) = (format!("{id}-{newer}"), format!("{id}-{older}"));
            assert_eq!(grub_entries(&newer, &older), Ordering::Greater, "{newer} {older}");
            assert_eq!(grub_entries(&older, &newer), Ordering::Less, "{newer} {older}");
        }
        assert_eq!(grub_entries("ostree-2", "ostree-1"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn orders_turn_around(one in "[a1.~^+é-]{0,8}", two in "[a1.~^+é-]{0,8}") {
            prop_assert_eq!(uapi(&one, &two), uapi(&two, &one).reverse());
            let _ = grub_entries(&one, &two);
        }
    }
}
