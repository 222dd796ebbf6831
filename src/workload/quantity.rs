//! Quantities of Kubernetes: `64Mi`, `500m`, `1e3`, `0.5`.

/// A quantity in thousandths, rounded up; `None` for what is none, is negative, or does not fit
/// (kubernetes.io, "Quantity": a decimal number with a binary suffix, a decimal one, or an exponent).
pub(super) fn thousandths(text: &str) -> Option<u128> {
    let number = text.strip_prefix('+').unwrap_or(text);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, suffix) = number.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() > 24 || fraction.contains('.') || digits.trim_matches('.').is_empty() {
        return None;
    }
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (binary, exponent): (u32, i32) = match suffix {
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "" => (0, 0),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            (0, Some(exponent).filter(|exponent| exponent.abs() <= 18)?)
        }
    };
    let exponent = exponent + 3 - i32::try_from(fraction.len()).ok()?;
    let scaled = mantissa.checked_mul(1 << binary)?;
    let power = 10u128.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 { Some(scaled.div_ceil(power)) } else { scaled.checked_mul(power) }
}

/// A quantity in whole units, rounded up.
pub(super) fn whole(text: &str) -> Option<u64> {
    thousandths(text).and_then(|n| u64::try_from(n.div_ceil(1000)).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_exponents_and_fractions() {
        for (text, milli) in [
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("2.", 2000),
            ("1", 1000),
            ("+1", 1000),
            ("1e3", 1_000_000),
            ("12E-1", 1200),
            ("1E", 10u128.pow(21)),
            ("64Mi", 64 * 1024 * 1024 * 1000),
            ("1.5Gi", 3 * 512 * 1024 * 1024 * 1000),
            ("100u", 1),
            ("1n", 1),
            ("0", 0),
        ] {
            assert_eq!(thousandths(text), Some(milli), "{text}");
        }
        for text in ["", ".", "Mi", "64mb", "64MB", "-1", "1..2", "1e", "1e99", "1 Gi", "abc", "1KI"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
        assert_eq!(
            (whole("128M"), whole("1m"), whole("99999999999999999999999E")),
            (Some(128_000_000), Some(1), None)
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[0-9.]{0,40}[a-zA-Z]{0,3}[0-9-]{0,12}") {
            let _ = whole(&text);
        }
    }
}
